"""A synthetic table as a priced release: noisy counts along a privately chosen tree of columns.

Nouns: column (one axis of the request), tree (the chosen pairs of columns), slice (the rows of one cell of the column
around which the table is drawn; all rows where there is none).

Rules
-----
1. What leaves the child is the noisy counts and the tree. Rows are drawn from them outside, by anybody, for nothing.
2. Which pairs are in the tree is data too: each is chosen by an exponential mechanism, drawn exactly and priced.
3. `inference` and `report` are pure and standard library only. `expecting`, `rehearsal` and `runner` are child only.
"""

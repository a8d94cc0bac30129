"""Generalised linear models as people publish them: coefficient, standard error, interval, all with the noise in.

Nouns: design (terms and their public ranges), measurement (a noisy sum over all units), course (what follows from the
measurements so far), table (what is printed).

Rules
-----
1. `sums`, `measure`, `rehearsal` and `runner` are child only. What is sent are integers with noise; the exact ones
   never leave the child.
2. Everything else is pure and standard library only: anybody recomputes the table from the noisy sums.
3. The course of a run depends on earlier noisy sums and on declared facts alone; so every number that leaves is a
   Gaussian sum with its price, or follows from such sums.
"""

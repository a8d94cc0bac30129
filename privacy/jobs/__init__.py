"""Jobs: what a trainer asks for, and the plan that follows from it.

Nouns: feature spec (rows to numbers), job request or spec (training, evaluation), recipe (what a trainer may choose),
plan (what will run and what it costs, frozen).

Rules
-----
1. Everything here is pure and derives from the request and from declared facts, never from rows or their number.
2. Standard library and `kernel` only: no numpy, no torch. The child applies what is described here.
"""

"""Priced evaluation on the holdout: noisy counts leave the child, estimates follow from them.

Nouns: counts (correct, wrong), histogram of scores per class, estimate with an interval.

Rules
-----
1. `counts` is pure and standard library only: anybody recomputes an estimate from the noisy counts.
2. `discrete_gaussian` is exact: integers and fractions, no float, no generator that could be seeded.
3. `runner` is child only. What it sends are integers with noise; the exact ones never leave it.
"""

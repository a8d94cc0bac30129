"""Priced statistics: noisy whole numbers leave the child, answers follow from them.

Nouns: query (what is asked), measurement (an integer vector), answer (an estimate with an interval of the noise).

Rules
-----
1. `intervals`, `answers` and `report` are pure and standard library only: anybody recomputes an answer.
2. `measuring` and `runner` are child only. What they send are whole numbers with noise; the exact ones never leave.
3. The noise is the exact discrete Gaussian of `privacy.evaluation.discrete_gaussian` (docs/adr/0015).
"""

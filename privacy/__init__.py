"""Privacy: what one person can lose, who pays for it, and the mechanisms that keep to it.

Nouns: population, unit, schema, mechanism use, price, reservation, charge, sealed object, job, plan, certificate.

Rules
-----
1. Nothing leaves unpaid: whatever is derived from private rows is priced and charged to the population it came from.
2. Nothing is derived from the number of rows: declared constants only.
3. This package imports `kernel` and never `policies`, `audit` or anything above. torch, opacus, pyarrow, numpy and
   dp-accounting are imported only by modules that run in the worker or its confined child; they say so at their top.
"""

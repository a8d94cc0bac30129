"""Rehearsing a training on the trainer's own machine: the gateway's functions, on rows that are nobody's secret.

Rules
-----
1. The plan is the gateway's: the request is completed, planned, assigned, tried on hostile rows and run by the very
   functions that the gateway uses, so that it refuses what the gateway refuses, in the same words.
2. No row of the owner is read, nothing is asked for, held or spent. Rows are made up from the declaration, or they are
   the trainer's own.
3. Noise is real. A model from made-up rows has learnt nothing; one from own rows is worth what those rows are.
4. What comes out is no release: it has no certificate, no receipt, and its file says what it is.
"""

"""Encrypted inference as a job: a client asks a released model, the worker evaluates it, the client alone reads.

requesting -> (answer of the owner) -> asking -> the worker: running -> certifying -> the desk.

Rules
-----
1. Decided like every job: under a grant that lists `he.infer`, for the dataset that the model was trained on. Whoever
   may not fetch a model may ask it: a grant says so.
2. Nothing of the ledger is touched: the model was paid for. Its certificate must be one of a charge.
3. No tick hides when such a job ends (RULES 14): its duration follows from lengths, and reads no private row.
"""

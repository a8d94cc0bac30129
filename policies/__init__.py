"""Policies: who may do what with which data, for which purpose, until when, and why the answer was what it was.

Nouns: principal, role, purpose, dataset (its governance), grant, obligation, approval, request, decision, snapshot.

Rules
-----
1. The policy of a tenant is the fold of its events; a decision is a pure function of that fold and of one request.
2. What is not allowed is denied; a deny row wins; an error inside is a denial.
3. A decision is logged with all that it was made from, so that anybody can make it again (`policies.replay`).
4. This package imports `kernel` and `casbin`, and never `privacy`, `audit` or anything above.
"""

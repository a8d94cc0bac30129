"""The gateway: HTTP, use cases, storage, worker and wiring around the pure rooms below it.

Nouns: work (what changes together in one transaction), service (one use case), task (leased unit of work), launcher.

Rules
-----
1. Endpoints authenticate and hand over; services decide, change and record; storage stores. Only `wiring` names
   concrete adapters.
2. A change of state and its log entry share one commit, made inside the service (never after the response has gone).
3. Refusals are values, so that their entry is committed; exceptions roll back.
4. torch, opacus and pyarrow never load in the API process.
"""

"""The ledger of a population: what one unit can lose in total, what is held, what is charged.

Nouns: population (the people or records that one budget protects), budget, block (a disjoint part of a population: one
side of the split in one of its home blocks), reservation (held -> touched -> charged, or
voided, or expired), account (the balances of a population), standing (the rows that one verb reads), change (an event
and what it turns the standing into).

Rules
-----
1. In every prefix of a ledger, for every block: charged + held <= capacity.
2. Verbs are pure: a standing goes in, a change or a refusal comes out. Adapters lock, load and append; they decide
   nothing.
3. Balances are the fold of events. One function, `fold.apply`, takes every step: live, in a database and offline.
"""

"""Federated averaging: sites compute on their own rows, the key holder reads the sum of all, and steps.

How it is called
----------------
- both:        `plan = FederatedAverage(...)`, `plan.to_json()`, `FederatedAverage.from_json(body)`, `plan.layout(...)`.
- site:        `site_numbers(plan, state, units, place) -> list[int]` (`site`; torch and numpy: child only).
- key holder:  `weights = first_weights(plan)`; `ask_json(weights)` is a round's `state`; `advance(plan, weights, sums,
               present)` steps; `weights_bytes(plan, weights)` is the released file (`course`; standard library).

Rules
-----
1. What is bounded is said: `person` sums the shortened gradient of each person, `update` shortens a whole site's
   update. One person may turn that round, so that noise is priced at two clips; without noise it protects a site's
   weight in the sum and no person.
2. Weights of sites are declared constants, never counts of rows.
3. Numbers are whole steps of clip / UNIT, at most one clip long; with noise they are rounded towards zero, so that no
   norm grows.
"""

"""Federated generalised linear models: exact sums of all sites, Newton steps at the key holder.

Nouns: plan (`ExactGlm`), point (coefficients at which a round sums; none in the first), sums (a site's whole numbers),
state (where the key holder's course stands), fit (where it ended), table (what is printed).

How it is called
----------------
- both:        `plan = ExactGlm(family=..., features=..., schema=...)`, `plan.to_json()`, `ExactGlm.from_json(body)`;
               `plan.layout(profile, sites)`: of a site's numbers in every round (a `wide` profile takes them whole).
- site:        `cases = cases_of(plan, RowEncoder(plan.features, plan.schema).encode(table))`,
               `site_sums(plan, asked_point(plan, round.state), cases) -> list[int]`. Numpy and pyarrow: child only.
- key holder:  `state = State.first()`; in each round `ask_json(state)` is the round document's `state`, and
               `advance(plan, state, sums, sites) -> State | Fit | Unfit` reads the added numbers.
               `glm_bytes(plan, ending, sites)` is the artefact. `state.to_json()` and `State.from_json(body)` keep it.

Rules
-----
1. `sums` alone reads rows. All else is pure, standard library only, and the same on every machine.
2. A row adds whole numbers on a grid, of a declared size at most: sums are exact, and the same in any order.
3. The number of numbers and their bound follow from the plan; so no upload's size says anything about rows.
4. A fit is that of all rows in one place, up to the grid: see `plan`.
"""

"""Federated statistics: counts, histograms, sums, means, quantiles and covariances over the rows of all sites.

How it is called
----------------
- both:        `plan = FederatedStatistics(...)`, `plan.to_json()`, `FederatedStatistics.from_json(body)`,
               `plan.layout(profile, sites)`. There is one round, and nothing to tell the sites in it.
- site:        `site_sums(plan, table, units) -> list[int]`; raises `TooFewError` where a cell has too few persons.
               Numpy and pyarrow: child only.
- key holder:  `statistics_bytes(plan, sums, sites)` writes the released file.

Rules
-----
1. Queries, cells and grids are those of ordinary statistics (`privacy.jobs.queries`), and so are the answers; a
   covariance is added, of columns in [-1, 1] over their declared ranges.
2. Exact results: no cell of a site may hold fewer than the declared minimum of persons, but none at all (RULES 39).
3. With noise each site adds its share before it encrypts; all vectors together cost what one Gaussian costs.
"""

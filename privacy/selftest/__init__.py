"""The mechanism's own test, with every job: canary units of our own on dead coordinates, and the noise itself.

Nouns: canary (a unit of our own that moves one dead coordinate), dead coordinate (one that no real row can move and
that is cut off before anything is released), claims (what the plan says the mechanism does), verdict.

Rules
-----
1. What can block a release never looks at real rows (RULES 12): canaries, dead coordinates and noise are independent
   of them.
2. It blocks at p < 1e-9 over all checks of a job together; bounds at 95 % are reported and gate nothing (RULES 32).
3. Every p-value is a proven upper bound, by an exponential inequality: none is an approximation that could be wrong
   far out in the tail, where the gate stands.
4. `witness` and `canaries` run in the child and need numpy. `claims`, `report`, `tails` and `bound` are pure: the
   parent recomputes the verdict from the figures, and so does whoever holds the certificate.
"""

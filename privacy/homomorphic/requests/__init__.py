"""Requests for jobs on data of several sites, in their final form, and what sites and key holder compute by.

Nouns: question (what a kind of job asks), plan (what every party computes by: the kind's own type, from a question and
the sites' schema), collection (such a job).

Rules
-----
1. A request is data of closed kinds; what it leaves out is filled in, and its digest is what decisions and approvals
   bind.
2. All sites of a job declare the columns that it reads alike, or it is refused.
3. Pure: nothing here needs a numerics library.

Form: docs/formats/job-spec.md, "Jobs on data of sites".
"""

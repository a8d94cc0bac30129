"""Compliance: what an archive shows about the rules that bind the data, as findings anybody can recompute.

Rules of this package:

1. A report is a function of (archive at a checkpoint, period, framework digest): no clock, no network, no database.
2. Silence is not a pass: a check whose source is missing says so, and one that found nothing to look at says that.
3. A report opens with what it cannot show.
"""

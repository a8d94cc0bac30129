"""The child at a site: file, sums, ciphertexts. One round, then it ends. Child only.

Rules
-----
1. The key in use is public, or one that every site has: whoever reads this process's memory finds rows that the site
   has anyway.
2. Whether there are enough persons is looked at before anything is encrypted (RULES 39). With noise everybody in the
   file is counted, whatever is asked: else each question would tell whether enough persons answer to it.
3. A value raises nothing; the file as a whole is read or refused.

Form: docs/formats/he-child.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel import canonical
from kernel.errors import InvalidError
from kernel.ids import Slug
from privacy.homomorphic.averaging.plan import FederatedAverage
from privacy.homomorphic.glm.noised import NoisedGlm
from privacy.homomorphic.glm.noised_sums import noised_cases, noised_site_sums
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.steps import asked_point
from privacy.homomorphic.glm.sums import cases_of, site_sums
from privacy.homomorphic.packing import pack
from privacy.homomorphic.runner import LARGEST_KEY
from privacy.homomorphic.site.assignment import LIMIT, ROLE, Answer, SiteAssignment
from privacy.homomorphic.site.rows import Table, read_table
from privacy.homomorphic.statistics.plan import MOST_ROWS, FederatedStatistics
from privacy.homomorphic.statistics.sums import TooFewError
from privacy.homomorphic.statistics.sums import site_sums as statistics_sums
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.ingest.findings import RefusedError
from privacy.jobs.strict import members_of
from privacy.sandbox.frames import Channel
from privacy.training.dialogue import expect
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable

Numbers = tuple[list[int], NDArray[np.bool_]]
"""A site's numbers, and which rows are in them."""


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Compute and encrypt one site's numbers over the pipe.

    Args:
        channel: The pipe; assignment and public key are its next frames.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment or the key is wrong.
    """
    if dict(request) != {"role": ROLE}:
        raise InvalidError("this child was started for another role", field="role")
    assignment = SiteAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    key = expect(channel, "key", LARGEST_KEY)
    try:
        table = read_table(Path(assignment.file), assignment.format, assignment.schema, assignment.unit)
    except RefusedError as refused:
        problems = [problem.to_json() for problem in refused.problems]
        channel.send({"m": Answer.REFUSED.value}, canonical.encode({"more": refused.more, "problems": problems}))
        return
    found = _numbers(assignment, table)
    if isinstance(found, Answer):
        channel.send({"m": found.value})
        return
    body = encrypt(assignment.layout, key, pack(assignment.layout, found))
    channel.send({"m": Answer.UPLOAD.value}, body)


def _numbers(assignment: SiteAssignment, table: Table) -> list[int] | Answer:
    """What is encrypted, or why nothing is."""
    try:
        made = _KINDS[assignment.kind](assignment, table)
    except TooFewError:
        return Answer.FEW
    if isinstance(made, Answer):
        return made
    numbers, alive = made
    return Answer.FEW if table.persons(alive) < assignment.least_persons else numbers


def _glm(assignment: SiteAssignment, table: Table) -> Numbers | Answer:
    if "noise" in assignment.plan:
        return _noised_glm(assignment, table)
    if _is_crowded(assignment, table):
        return Answer.CROWDED
    plan = ExactGlm.from_json(assignment.plan)
    rows = RowEncoder(plan.features, plan.schema).encode(table.rows)
    return site_sums(plan, asked_point(plan, assignment.state), cases_of(plan, rows)), rows.alive


def _is_crowded(assignment: SiteAssignment, table: Table) -> bool:
    """Whether somebody has more rows than the site declares: without noise nobody's rows are left out."""
    return table.most_rows_of_a_unit > assignment.unit.rows_per_unit


def _noised_glm(assignment: SiteAssignment, table: Table) -> Numbers:
    plan = NoisedGlm.from_json(assignment.plan)
    rows = RowEncoder(plan.features, plan.schema).encode(table.rows)
    return noised_site_sums(plan, assignment.state, noised_cases(plan, rows, table.units)), _everybody(table)


def _statistics(assignment: SiteAssignment, table: Table) -> Numbers | Answer:
    plan = FederatedStatistics.from_json(assignment.plan)
    if plan.noise is None and _is_crowded(assignment, table):
        return Answer.CROWDED
    # The site's own minimum holds for cells as well, whatever the order says.
    plan = replace(plan, least_persons=min(max(plan.least_persons, assignment.least_persons), MOST_ROWS))
    members_of(assignment.state, "state", ())
    return statistics_sums(plan, table.rows, table.units), _everybody(table)


def _everybody(table: Table) -> NDArray[np.bool_]:
    return np.ones(table.rows.num_rows, dtype=np.bool_)


def _average(assignment: SiteAssignment, table: Table) -> Numbers | Answer:
    # Torch is slow to import and not at every site: whoever takes part in no averaging does without.
    from privacy.homomorphic.averaging.site import site_numbers

    plan = FederatedAverage.from_json(assignment.plan)
    if plan.noise is None and _is_crowded(assignment, table):
        return Answer.CROWDED
    rows = RowEncoder(plan.features, plan.schema).encode(table.rows)
    units = UnitTable.by_unit(rows, table.units, plan.rows_per_unit)
    numbers = site_numbers(plan, assignment.state, units, assignment.place)
    return numbers, rows.alive if plan.noise is None else _everybody(table)


_KINDS: Mapping[Slug, Callable[[SiteAssignment, Table], Numbers | Answer]] = {
    Slug("he.aggregate"): _average,
    Slug("he.glm"): _glm,
    Slug("he.statistics"): _statistics,
}

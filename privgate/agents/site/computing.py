"""The parent's side of the child at a site: one round, from the site's own file to ciphertexts.

Rules
-----
1. The child may read that one file and write nothing; it cannot reach any network.
2. What it found wrong with the file is for the site's own people; the gateway learns that the site declines.
3. What it answers is judged as a stranger's would be.
4. With noise the site's own minimum of persons decides alone: whoever could ask for another would count its people by
   who declines.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernel import canonical
from kernel.errors import CorruptError, NotFoundError, PrivgateError, UnavailableError
from kernel.ids import Slug
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import LEAST_PERSONS, SiteMember
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.site.assignment import ROLE, Answer, SiteAssignment
from privacy.homomorphic.validator import require_upload
from privacy.ingest.formats import MOST_PROBLEMS, Problem
from privacy.sandbox.frames import expect
from privacy.sandbox.limits import MIB, Level, Limits
from privacy.sandbox.spawn import spawn
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.site.datasets import SiteDataset

_ANSWER_LIMIT = 2**20
_MEMORY = 2048 * MIB


class Computing:
    """Runs each round in a confined child of its own.

    Args:
        minimum: The least confinement to go on with.
    """

    def __init__(self, minimum: Level = Level.LANDLOCK_AND_SECCOMP) -> None:
        self._minimum = minimum

    def ciphertexts(
        self,
        order: Order,
        own: SiteMember,
        dataset: SiteDataset,
        layout: Layout,
        state: Mapping[str, Any],
        public_key: bytes,
    ) -> bytes:
        """The site's encrypted numbers of one round.

        Raises:
            RefusalError: Too few persons, or a file that cannot be read as it is declared.
            UnavailableError: The child did not come up; nothing was looked at.
        """
        if not dataset.file.is_file():
            raise NotFoundError("the dataset's file is not there", field="file")
        assignment = SiteAssignment(
            file=str(dataset.file),
            format=dataset.format,
            schema=dataset.schema,
            unit=dataset.unit,
            kind=Slug(order.kind),
            plan=order.plan,
            state=state,
            layout=layout,
            least_persons=_least_persons(order, own, dataset),
            place=order.sites.index(own),
        )
        header, body = self._converse(assignment, public_key, dataset.file.stat().st_size)
        return _judged(header, body, layout)

    def _converse(self, assignment: SiteAssignment, key: bytes, size: int) -> tuple[dict[str, Any], bytes]:
        megabytes = (size + 16 * assignment.layout.upload_bytes) // MIB
        limits = Limits(
            memory_bytes=_MEMORY + 16 * megabytes * MIB,
            cpu_seconds=120 + 8 * megabytes,
            wall_seconds=480 + 32 * megabytes,
            output_bytes=2**22,
        )
        with spawn(ROLE, limits=limits, readable=[Path(assignment.file)], minimum=self._minimum) as child:
            try:
                child.channel.send({"m": "assignment"}, assignment.to_bytes())
                child.channel.send({"m": "key"}, key)
                return child.channel.receive(max(_ANSWER_LIMIT, assignment.layout.upload_bytes))
            except PrivgateError:
                raise RefusalError(Why.DATA, "the computation ended without a result") from None


def _least_persons(order: Order, own: SiteMember, dataset: SiteDataset) -> int:
    asked = own.least_persons if order.outcome is Outcome.EXACT else LEAST_PERSONS
    return max(asked, dataset.least_persons)


def _judged(header: Mapping[str, Any], body: bytes, layout: Layout) -> bytes:
    (said,) = expect(header, "m")
    match said:
        case Answer.UPLOAD:
            try:
                require_upload(layout, body)
            except CorruptError:
                raise UnavailableError("this host's encryption gives another form than is specified") from None
            return body
        case Answer.FEW:
            raise RefusalError(Why.PERSONS)
        case Answer.CROWDED:
            raise RefusalError(Why.DATA, "somebody has more rows than `rows_per_unit` declares")
        case Answer.REFUSED:
            raise RefusalError(Why.DATA, "; ".join(sentences(body)))
        case _:
            raise RefusalError(Why.DATA, "the computation gave an unknown answer")


def sentences(body: bytes) -> list[str]:
    """What is wrong with a file, for the site's own people."""
    found = canonical.decode(body, limit=_ANSWER_LIMIT)["problems"][:MOST_PROBLEMS]
    problems = [Problem.from_json(problem) for problem in found]
    return [
        " ".join(
            part
            for part in (
                problem.rule.value,
                "" if problem.column is None else f"in `{problem.column}`",
                "" if problem.row is None else f"at row {problem.row}",
            )
            if part
        )
        for problem in problems
    ]

"""What a site has: for each dataset that the gateway knows by number, a file on its own disk and how it is declared.

Rules
-----
1. The gateway never learns where the file is; an order names the dataset.
2. The columns of an order's plan must be declared here exactly as there: bounds, categories and fills follow from one
   declaration, or the sums of two sites would mean different things.
3. Without noise no rows that are declared here are left out: one request, ordered twice with different numbers of rows
   for each person, would tell the rows between by subtraction.
4. A file is of one population: declared for two of them, the same people would have two budgets (RULES 1).

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kernel import canonical
from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import ConflictError, InvalidError, NotFoundError, PrivgateError
from kernel.ids import DatasetId, PopulationId
from privacy.homomorphic.blind.documents import BlindOrder
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import LEAST_PERSONS, MOST_PERSONS, SiteMember
from privacy.ingest.formats import UploadFormat
from privacy.jobs.strict import members_of, text_of
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit
from privgate.agents.papers import Papers
from privgate.agents.refusing import RefusalError, Why

_LIMIT: Final = 8 * 2**20
_MEMBERS: Final = ("dataset", "file", "format", "least_persons", "population", "schema", "unit", "v")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDataset:
    """One dataset.

    Attributes:
        dataset, population: The gateway's numbers for it and for whose budget it is.
        file: Where the rows are.
        format, schema, unit: How it is declared.
        least_persons: With fewer persons this site takes no part, whatever an order says.
    """

    dataset: DatasetId
    population: PopulationId
    file: Path
    format: UploadFormat
    schema: TableSchema
    unit: PrivacyUnit
    least_persons: int = LEAST_PERSONS

    def __post_init__(self) -> None:
        whole(LEAST_PERSONS, MOST_PERSONS, least_persons=self.least_persons)
        if not self.file.is_absolute():
            raise InvalidError("`file` must be an absolute path", field="file")

    def to_bytes(self) -> bytes:
        """Write the file."""
        return canonical.encode(
            {
                "dataset": self.dataset,
                "file": str(self.file),
                "format": self.format.to_json(),
                "least_persons": self.least_persons,
                "population": self.population,
                "schema": self.schema.to_json(),
                "unit": self.unit.to_json(),
                "v": 1,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> SiteDataset:
        """Read the file; raise `InvalidError` otherwise."""
        members: Mapping[str, Any] = members_of(canonical.decode(data, limit=_LIMIT), "dataset", _MEMBERS)
        whole(1, 1, v=members["v"])
        return cls(
            dataset=DatasetId(members["dataset"]),
            population=PopulationId(members["population"]),
            file=Path(text_of(members["file"], "file")),
            format=UploadFormat.from_json(members["format"]),
            schema=TableSchema.from_json(members["schema"]),
            unit=PrivacyUnit.from_json(members["unit"]),
            least_persons=members["least_persons"],
        )


class SiteDatasets:
    """All datasets of one site.

    Args:
        home: The agent's home.
    """

    def __init__(self, home: Path) -> None:
        self._papers = Papers(home / "datasets")

    def declare(self, dataset: SiteDataset) -> None:
        """Add one, or declare it anew; raise `ConflictError` if its file is another population's."""
        if any(other.population != dataset.population and _is_one(other.file, dataset.file) for other in self._all()):
            raise ConflictError("this file is declared for another population: one population has it", field="file")
        self._papers.put(f"{dataset.dataset}.json", dataset.to_bytes())

    def _all(self) -> list[SiteDataset]:
        return [self.get(DatasetId(path.stem)) for path in sorted(self._papers.path.glob("*.json"))]

    def get(self, dataset: DatasetId) -> SiteDataset:
        """One of them; raise `NotFoundError` if it was not declared."""
        data = self._papers.get(f"{dataset}.json")
        if data is None:
            raise NotFoundError(f"`{dataset}` is not declared here: run `privgate site dataset`", field="dataset")
        return SiteDataset.from_bytes(data)

    def note_rows(self, dataset: DatasetId, rows: Digest) -> None:
        """Keep what was attested."""
        self._papers.put(f"{dataset}.rows", rows.encode("ascii"))

    def noted_rows(self, dataset: DatasetId) -> Digest | None:
        """What was attested, or nothing."""
        data = self._papers.get(f"{dataset}.rows")
        return None if data is None else Digest(data.decode("ascii", "replace"))

    def for_order(self, order: Order, own: SiteMember) -> SiteDataset:
        """The dataset that an order asks for.

        Raises:
            RefusalError: There is none, it is of another population, or the order's columns are declared otherwise.
        """
        found = self._declared(own.dataset, order.plan)
        if found.population != own.population:
            raise RefusalError(Why.DATA, "`population`")
        if order.outcome is Outcome.EXACT and not _keeps_rows(order.plan, found.unit.rows_per_unit):
            raise RefusalError(Why.DATA, "`rows_per_unit`: fewer than are declared here")
        return found

    def for_blind(self, order: BlindOrder) -> SiteDataset:
        """The dataset that an order for blind training names; raise `RefusalError` as `for_order` does."""
        found = self._declared(order.dataset, order.plan)
        if found.population != order.population:
            raise RefusalError(Why.DATA, "`population`")
        return found

    def _declared(self, dataset: DatasetId, plan: Mapping[str, Any]) -> SiteDataset:
        """A dataset in which the columns of a plan are declared as there."""
        try:
            found = self.get(dataset)
            columns = TableSchema.from_json(plan["schema"]).columns
            differs = [column.name for column in columns if found.schema.column(column.name) != column]
        except (PrivgateError, KeyError, TypeError):
            raise RefusalError(Why.DATA, "the dataset, or a column of the plan, is not declared here") from None
        if differs:
            raise RefusalError(Why.DATA, f"column `{differs[0]}` is declared otherwise here")
        return found


def _is_one(file: Path, other: Path) -> bool:
    """Whether two paths lead to one file, whatever they are called."""
    try:
        return file.samefile(other)
    except OSError:
        return file == other


def _keeps_rows(plan: Mapping[str, Any], declared: int) -> bool:
    """Whether a plan leaves out none of the rows that somebody may have here."""
    most = plan.get("rows_per_unit", declared)
    return isinstance(most, int) and most >= declared

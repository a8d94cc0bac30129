"""Datasets as their card shows them, with what an owner and a trainer do with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kernel.amounts import Delta, Share
from privacy.jobs.facts import DeclaredFacts
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit
from privgate.dummy import dummy_rows
from privgate.sdk.view import View
from privgate.sdk.views import Version

if TYPE_CHECKING:
    from privgate.sdk.gateway import Gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(View):
    """A dataset's card: schema, unit, purposes, basis. Nothing in it was computed from rows."""

    NOUN: ClassVar[str] = "dataset"
    COLUMNS: ClassVar[tuple[str, ...]] = ("dataset", "title", "unit_noun", "public_size", "purposes", "state")
    gateway: Gateway = field(repr=False, compare=False)
    dataset: str
    title: str
    description: str
    owner: str
    population: str
    unit_noun: str
    public_size: int
    state: str
    sensitivity: str
    purposes: tuple[str, ...]
    legal_basis: str
    retention_until: str
    table: Mapping[str, Any]
    unit: Mapping[str, Any]
    home_size: int
    holdout_share: str
    delta: str
    order: int

    @property
    def schema(self) -> TableSchema:
        """The declared columns."""
        return TableSchema.from_json(self.table)

    @property
    def privacy_unit(self) -> PrivacyUnit:
        """Who is protected."""
        return PrivacyUnit.from_json(self.unit)

    def facts(self, *, home_alone: bool = False) -> DeclaredFacts:
        """What a plan may know of the people behind the dataset, or of those alone who are at home in its block."""
        return DeclaredFacts(
            public_size=self.home_size if home_alone else self.public_size,
            holdout_share=Share.parse(self.holdout_share),
            rows_per_unit=self.privacy_unit.rows_per_unit,
            order=self.order,
            delta=Delta.parse(self.delta),
        )

    def dummy(self, rows: int, *, seed: int = 0) -> list[dict[str, Any]]:
        """Rows made up from the declaration alone: public, the same for one seed, and with no meaning.

        Every kind of value that an upload may hold occurs: bounds, categories, missing values where the schema fills
        them in, units of several rows. More rows of a seed begin with the fewer.
        """
        return list(dummy_rows(self.schema, self.privacy_unit, rows, seed))

    def lines(self) -> list[tuple[str, object]]:
        """The card in words, with one line for each column."""
        named = [(name, value) for name, value in View.lines(self) if name != "table"]
        return named + [(f"column {c.name}", column_in_words(c.to_json())) for c in self.schema.columns]

    def upload(self, path: str | Path, **form: Any) -> Version:
        """Send the rows and wait until they are sealed; see `Gateway.upload`."""
        return self.gateway.upload(self, path, **form)


def column_in_words(column: Mapping[str, Any]) -> str:
    """What is declared about a column, in a few words."""
    said = [str(column["kind"])]
    if "low" in column:
        said.append(f"from {column['low']} to {column['high']}" + (", clamped" if column.get("clamp") else ""))
    if "categories" in column:
        categories = column["categories"]
        listed = ", ".join(categories[:8]) + (f" and {len(categories) - 8} more" if len(categories) > 8 else "")
        said.append(f"one of {listed}")
    if "shape" in column:
        said.append("of shape " + " x ".join(str(side) for side in column["shape"]))
    if "fill" in column:
        said.append(f"missing becomes {column['fill']}")
    return "; ".join(said)

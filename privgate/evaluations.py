"""Released evaluations as people read them: every figure by name, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from privacy.evaluation.report import read_evaluation
from privgate.sdk import html

HEADER: Final = ("figure", "value", "95 % interval")
_NAMES: Final = {
    "auc": "AUC",
    "confidence_auc": "AUC of confidence",
    "f1": "F1",
    "r_squared": "R squared",
    "brier": "Brier score",
    "error": "calibration error",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        name: What it is, and of whom.
        value: The estimate; nothing where too few noisy rows are there to say.
        low, high: The interval, at 95 %, of noise and sampling.
    """

    name: str
    value: str | None
    low: str = ""
    high: str = ""

    @property
    def cells(self) -> tuple[str, str, str]:
        """As a row of a table."""
        return (
            (self.name, "not shown", "")
            if self.value is None
            else (self.name, self.value, f"{self.low} to {self.high}")
        )


class Evaluation(dict[str, Any]):
    """A released evaluation, computed again from its noisy numbers: the file's members, and figures by name."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a released file; raise `InvalidError` if a figure does not follow from its noisy numbers."""
        return cls(read_evaluation(data)[1])

    @property
    def figures(self) -> list[Figure]:
        """Every figure in the order of the file: of all, of classes, of scores, of groups."""
        whole = [name for name in ("accuracy", "auc", "confidence_auc") if name in self]
        found = [_figure(_named(name), self[name]) for name in whole]
        found += [_figure(_named(name), one) for name, one in self.get("errors", {}).items()]
        for of in self.get("by_class", []):
            found += [_figure(f"{_named(n)} of {of['class']}", e) for n, e in of.items() if n != "class"]
        found += _calibration(self.get("calibration", {}))
        for column in self.get("subgroups", []):
            found += _groups(column)
        return found

    def _repr_html_(self) -> str:
        return html.table("evaluation", HEADER, [figure.cells for figure in self.figures])


def _calibration(body: Mapping[str, Any]) -> Iterator[Figure]:
    yield from (_figure(_named(name), body[name]) for name in ("error", "brier") if name in body)
    cells = body.get("cells", [])
    for place, cell in enumerate(cells):
        name = f"rate at scores {place / len(cells):.3g} to {(place + 1) / len(cells):.3g}"
        yield Figure(name, None) if cell is None else _figure(name, cell)


def _groups(column: Mapping[str, Any]) -> Iterator[Figure]:
    yield from (_figure(f"{_named(name)}, {column['column']}", one) for name, one in column["gaps"].items())
    for group in column["groups"]:
        of = f"{column['column']} {group['group']}"
        yield _figure(f"rows, {of}", group["rows"])
        if group["suppressed"]:
            yield Figure(f"figures, {of}", None)
        shown = {n: e for n, e in group.items() if n not in ("group", "rows", "suppressed")}
        yield from (_figure(f"{_named(name)}, {of}", one) for name, one in shown.items())


def _named(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))


def _figure(name: str, estimate: Mapping[str, str]) -> Figure:
    return Figure(name, estimate["value"], estimate["low"], estimate["high"])

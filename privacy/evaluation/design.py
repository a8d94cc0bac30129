"""What an evaluation measured, with every constant and public name that its figures need. Pure.

Rules
-----
1. It follows from the plan and from declarations: feature spec and schema. Names of columns and categories are public.
2. It is written into the released file, so that anybody recomputes the figures from that file alone.

Form: docs/formats/job-child.md, "Result of an evaluation".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Self

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import ReleaseId
from privacy.jobs.evaluation_measures import ERROR_SCALES, GROUP_CELLS, MOST_CELLS, Part, groups_of
from privacy.jobs.evaluation_plan import EvaluationPlan
from privacy.jobs.evaluation_spec import LARGEST_LEAST_GROUP
from privacy.jobs.features import FeatureSpec
from privacy.jobs.labels import Encoding, Label, Target
from privacy.jobs.strict import members_of, number_of, one_of, text_of
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.units import LARGEST_ROWS_PER_UNIT

MOST_CLASSES = 1024
_REAL: Final = ("low", "high", "error_bound")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One vector of noisy whole numbers.

    Attributes:
        part: What it holds.
        noise: The standard deviation of the noise on each number.
        cells: How many numbers.
        column, groups: Of subgroups: their column and its categories.
    """

    part: Part
    noise: Parameter
    cells: int
    column: str | None = None
    groups: tuple[str, ...] = ()

    @property
    def deviation(self) -> float:
        """The noise's deviation, for figures."""
        return float(self.noise.number)

    @property
    def variance(self) -> Fraction:
        """The exact variance that the sampler gets."""
        return Fraction(self.noise.number) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Everything about an evaluation but its numbers.

    Attributes:
        plan, release: Digest of the plan; the model.
        target: What the model predicts.
        classes: Their names; of two classes the negative one first; none of a number.
        rows_per_unit: The most rows of one unit.
        least_group: The smallest noisy count of a group that is shown.
        vectors: What was measured, in the order of the plan.
        low, high, error_bound: Of a number: the label's declared range, and the part of it that errors count at most.
    """

    plan: Digest
    release: ReleaseId
    target: Target
    classes: tuple[str, ...]
    rows_per_unit: int
    least_group: int
    vectors: tuple[Vector, ...]
    low: Parameter | None = None
    high: Parameter | None = None
    error_bound: Parameter | None = None

    def __post_init__(self) -> None:
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        whole(0, LARGEST_LEAST_GROUP, least_group=self.least_group)
        real = self.target is Target.REAL
        if real == bool(self.classes) or any((getattr(self, name) is not None) != real for name in _REAL):
            raise InvalidError("a number has a range and an error bound, classes have names", field="target")
        for vector in self.vectors:
            _check_length(vector, self.target, len(self.classes))

    @classmethod
    def of(cls, plan: EvaluationPlan, features: FeatureSpec, schema: TableSchema) -> Self:
        """The design of a plan, for a model with these features."""
        label, column = features.label, schema.column(features.label.column)
        real = label.target is Target.REAL
        return cls(
            plan=plan.digest,
            release=plan.release,
            target=plan.target,
            classes=() if real else class_names(label, column),
            rows_per_unit=plan.rows_per_unit,
            least_group=plan.least_group,
            vectors=tuple(_vector(plan, place, schema) for place in range(len(plan.measures))),
            low=(label.low or column.low) if real else None,
            high=(label.high or column.high) if real else None,
            error_bound=plan.error_bound,
        )

    @property
    def span(self) -> float:
        """How wide a number's declared range is."""
        return 0.0 if self.low is None or self.high is None else float(self.high.number - self.low.number)

    @property
    def bound(self) -> float:
        """The part of that range that an error counts at most."""
        return 0.0 if self.error_bound is None else float(self.error_bound.number)

    def to_json(self, numbers: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The members of the file that are not figures."""
        body: dict[str, Any] = {
            "plan": str(self.plan),
            "release": str(self.release),
            "target": self.target.value,
            "classes": list(self.classes),
            "rows_per_unit": self.rows_per_unit,
            "least_group": self.least_group,
            "measured": [_written(vector, own) for vector, own in zip(self.vectors, numbers, strict=True)],
        }
        return body | {name: str(value) for name in _REAL if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> tuple[Self, tuple[tuple[int, ...], ...]]:
        """Read a file's design and numbers; raise `InvalidError` if it has none. Figures are not looked at."""
        try:
            names, measured = _list(body["classes"], MOST_CLASSES), _list(body["measured"], MOST_CLASSES)
            read = [_read(one) for one in measured]
            design = cls(
                plan=Digest(text_of(body["plan"], "plan")),
                release=ReleaseId(text_of(body["release"], "release")),
                target=one_of(Target, body["target"], "target"),
                classes=tuple(text_of(name, "classes") for name in names),
                rows_per_unit=body["rows_per_unit"],
                least_group=body["least_group"],
                vectors=tuple(vector for vector, _ in read),
                **{name: number_of(body.get(name), name) for name in _REAL},
            )
        except (KeyError, TypeError):
            raise InvalidError("not an evaluation: a member is missing or of the wrong kind") from None
        return design, tuple(numbers for _, numbers in read)


def class_names(label: Label, column: Column) -> tuple[str, ...]:
    """The classes of a label by name; of two, the negative one first."""
    if label.encoding is Encoding.CLASSES:
        return column.categories
    if label.above is not None:
        return (f"at most {label.above}", f"above {label.above}")
    positive = label.category or ""
    known = ("false", "true") if column.kind is ColumnKind.BOOLEAN else column.categories
    others = [name for name in known if name != positive]
    return (others[0] if len(others) == 1 else f"not {positive}", positive)


def _check_length(vector: Vector, target: Target, classes: int) -> None:
    """Hold a vector to what its part has, of such a target."""
    lengths = {
        Part.OUTCOMES: 2,
        Part.CONFUSION: classes**2,
        Part.SCORES: vector.cells // 2 * 2,
        Part.ERRORS: len(ERROR_SCALES),
        Part.SUBGROUPS: GROUP_CELLS[target] * len(vector.groups),
    }
    foreign = vector.part is not Part.SUBGROUPS and (vector.part is Part.ERRORS) != (target is Target.REAL)
    if foreign or vector.cells != lengths[vector.part] or not vector.noise.number > 0:
        raise InvalidError("a measure has another length, or another target, than its part has", field="measured")


def _vector(plan: EvaluationPlan, place: int, schema: TableSchema) -> Vector:
    measure = plan.measures[place]
    column = None if measure.column is None else schema.columns[measure.column]
    return Vector(
        part=measure.part,
        noise=plan.deviation(place),
        cells=measure.cells,
        column=None if column is None else column.name,
        groups=() if column is None else groups_of(column),
    )


def _written(vector: Vector, numbers: Sequence[int]) -> dict[str, Any]:
    body: dict[str, Any] = {"part": vector.part.value, "noise": str(vector.noise), "numbers": list(numbers)}
    return body if vector.column is None else body | {"column": vector.column, "groups": list(vector.groups)}


def _read(body: Any) -> tuple[Vector, tuple[int, ...]]:
    members = members_of(body, "measured", ("part", "noise", "numbers"), ("column", "groups"))
    numbers, part = _list(members["numbers"], MOST_CELLS), one_of(Part, members["part"], "part")
    if any(not isinstance(number, int) or isinstance(number, bool) for number in numbers):
        raise TypeError
    if not {"column", "groups"} & set(members) == ({"column", "groups"} if part is Part.SUBGROUPS else set()):
        raise InvalidError("subgroups, and nothing else, are of a column", field="measured")
    vector = Vector(
        part=part,
        noise=Parameter.of(text_of(members["noise"], "noise"), "noise"),
        cells=len(numbers),
        column=text_of(members["column"], "column") if "column" in members else None,
        groups=tuple(text_of(group, "groups") for group in _list(members.get("groups", []), MOST_CELLS)),
    )
    return vector, tuple(numbers)


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise TypeError
    return value

"""The released file: design, noise, noisy sums, and the table that follows from them. Pure.

Rules
-----
1. It holds all that is needed to work the table out again: `recomputed` does, from the file alone.
2. Figures have six significant digits, p-values six places and at least 0.000001.

Form: docs/formats/glm.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from kernel import canonical
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian
from privacy.glm.design import CONSTANT, INTERCEPT, MOST_TERMS, Design, Term, check_ranges
from privacy.glm.families import MOST_COUNT, Family
from privacy.glm.inference import CONFIDENCE, Coefficient, coefficients_of
from privacy.glm.readings import Readings
from privacy.glm.schedule import STEPS, schedule
from privacy.jobs.glm_plan import GlmPlan, multipliers_of
from privacy.jobs.glm_spec import Counted
from privacy.jobs.strict import members_of, one_of, text_of
from privacy.units import LARGEST_ROWS_PER_UNIT

FORMAT = "privgate/glm/v1"
LIMIT = 2**20
_LONGEST = 8.0
_SIX_DIGITS = Context(prec=6, rounding=ROUND_HALF_EVEN)
_SIX_PLACES = Decimal("0.000001")
_RATIO: Final[Mapping[Family, str]] = {Family.LOGISTIC: "odds_ratio", Family.POISSON: "rate_ratio"}
_HEAD: Final = (
    "v", "format", "plan", "outcome", "family", "counted", "rows_per_unit", "noise_multiplier", "design", "sums",
)  # fmt: skip
_FOLLOWS: Final = ("confidence", "count", "table")


def glm_json(plan: GlmPlan, outcome: str, design: Design, sums: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The released statement.

    Args:
        plan: What ran.
        outcome: The outcome's column.
        design: The model.
        sums: Noisy integers of each measurement, by name.
    """
    head = {
        "v": 1,
        "format": FORMAT,
        "plan": str(plan.digest),
        "outcome": outcome,
        "family": design.family.value,
        "counted": plan.counted.value,
        "rows_per_unit": plan.rows_per_unit,
        "noise_multiplier": str(plan.noise_multiplier),
        "design": _design_json(design),
        "sums": {name: list(numbers) for name, numbers in sums.items()},
    }
    return head | _follows(design, plan.noise_multiplier, sums, _each(plan.counted, plan.rows_per_unit))


def glm_bytes(plan: GlmPlan, outcome: str, design: Design, sums: Mapping[str, Sequence[int]]) -> bytes:
    """The released file."""
    return canonical.encode(glm_json(plan, outcome, design, sums))


def read_glm(data: bytes) -> dict[str, Any]:
    """Read a released file and work its table out again from its own sums; raise `InvalidError` if it differs."""
    body = canonical.decode(data, limit=LIMIT, canonical=True)
    members = members_of(body, "glm", (*_HEAD, *_FOLLOWS))
    design = _design_of(members)
    sums = _sums_of(members["sums"], design)
    noise = Parameter.of(text_of(members["noise_multiplier"], "noise_multiplier"), "noise_multiplier")
    Gaussian(noise_multiplier=noise, count=1)
    counted: Counted = one_of(Counted, members["counted"], "counted")
    each = _each(counted, _whole(members["rows_per_unit"], LARGEST_ROWS_PER_UNIT))
    try:
        follows = _follows(design, noise, sums, each)
    except (ArithmeticError, ValueError):
        raise InvalidError("these sums cannot be computed with", field="sums") from None
    if canonical.encode({**members, **follows}) != data:
        raise InvalidError("the table does not follow from the sums and the noise")
    return dict(members)


def require_glm(plan: GlmPlan, outcome: str, design: Design, data: bytes) -> None:
    """Return if a file is the result of this very plan; raise `InvalidError` otherwise."""
    sums = _sums_of(read_glm(data)["sums"], design)
    if glm_bytes(plan, outcome, design, sums) != data:
        raise InvalidError("the model does not belong to its plan")


def _each(counted: Counted, rows_per_unit: int) -> int:
    """How many of what counts a unit's full weight is."""
    return rows_per_unit if counted is Counted.ROW else 1


def _follows(design: Design, noise: Parameter, sums: Mapping[str, Sequence[int]], each: int) -> dict[str, Any]:
    multipliers = {name: float(value.number) for name, value in multipliers_of(design, noise).items()}
    readings = Readings(design=design, multipliers=multipliers, numbers=sums)
    table = coefficients_of(design, readings.steps(STEPS[design.family]))
    return {
        "confidence": str(CONFIDENCE),
        "count": round(each * math.fsum(readings.outcomes)),
        "table": None if table is None else [_line_json(design.family, line) for line in table],
    }


def _line_json(family: Family, line: Coefficient) -> dict[str, Any]:
    low, high = line.interval
    written: dict[str, Any] = {
        "term": line.name,
        "coefficient": _text(line.value),
        "standard_error": _text(line.error),
        "low": _text(low),
        "high": _text(high),
        "noise_share": _places(line.noise_share, Decimal("0.01")),
    }
    if line.p_value is not None:
        written["p_value"] = _places(max(line.p_value, float(_SIX_PLACES)), _SIX_PLACES)
    if family in _RATIO and line.name != INTERCEPT and max(abs(low), abs(high)) < math.log(10**9):
        ratio = {"value": line.value, "low": low, "high": high}
        written[_RATIO[family]] = {name: _text(math.exp(value)) for name, value in ratio.items()}
    return written


def _text(value: float) -> str:
    """Six significant digits, as plain decimal text."""
    return format(_SIX_DIGITS.create_decimal(Decimal(value)), "f")


def _places(value: float, unit: Decimal) -> str:
    return format(Decimal(value).quantize(unit, rounding=ROUND_HALF_EVEN, context=Context(prec=34)), "f")


def _design_json(design: Design) -> dict[str, Any]:
    return {
        "terms": [_term_json(one) for one in design.terms],
        "radius": repr(design.radius),
        "middle": repr(design.middle),
        "half": repr(design.half),
        "highest": design.highest,
    }


def _term_json(term: Term) -> dict[str, Any]:
    return {
        "term": term.name,
        "middle": repr(term.middle),
        "half": repr(term.half),
        "column": term.column,
        "category": term.category,
    }


def _design_of(members: Mapping[str, Any]) -> Design:
    body = members_of(members["design"], "design", ("terms", "radius", "middle", "half", "highest"))
    terms = body["terms"]
    if not isinstance(terms, Sequence) or isinstance(terms, str) or not 1 <= len(terms) <= MOST_TERMS:
        raise InvalidError(f"a design lists 1 to {MOST_TERMS} terms", field="design")
    design = Design(
        family=one_of(Family, members["family"], "family"),
        terms=tuple(_term_of(term) for term in terms),
        radius=_number(body["radius"]),
        middle=_number(body["middle"]),
        half=_number(body["half"]),
        highest=_whole(body["highest"], MOST_COUNT),
    )
    _check_columns(design)
    check_ranges(design)
    if not CONSTANT < design.radius <= _LONGEST:
        raise InvalidError(f"a design's radius is above {CONSTANT} and at most {_LONGEST}", field="design")
    return design


def _check_columns(design: Design) -> None:
    """Columns are counted from 0 in order; several terms of one column are its categories."""
    last = -1
    for term in design.terms:
        fits = term.column == last + 1 or (term.column == last and term.category)
        if type(term.column) is not int or type(term.category) is not bool or not fits:
            raise InvalidError(
                "a design counts its columns in order; terms of one column are categories", field="design"
            )
        last = term.column


def _term_of(body: Any) -> Term:
    members = members_of(body, "design", ("term", "middle", "half", "column", "category"))
    return Term(
        name=text_of(members["term"], "term"),
        middle=_number(members["middle"]),
        half=_number(members["half"]),
        column=members["column"],
        category=members["category"],
    )


def _sums_of(body: Any, design: Design) -> dict[str, tuple[int, ...]]:
    wanted = {one.name: one.size for one in schedule(design)}
    if not isinstance(body, Mapping) or set(body) != set(wanted):
        raise InvalidError("`sums` has exactly the measurements of its design", field="sums")
    for name, numbers in body.items():
        if not isinstance(numbers, Sequence) or isinstance(numbers, str) or len(numbers) != wanted[name]:
            raise InvalidError("a measurement has another number of sums than its design gives", field="sums")
        if any(type(number) is not int or abs(number) > canonical.LARGEST_INTEGER for number in numbers):
            raise InvalidError("a noisy sum must be a whole number", field="sums")
    return {name: tuple(numbers) for name, numbers in body.items()}


def _number(value: Any) -> float:
    try:
        number = float(text_of(value, "design"))
    except ValueError:
        raise InvalidError("a design's numbers are decimal text", field="design") from None
    if not math.isfinite(number) or repr(number) != value:
        raise InvalidError("a design's numbers are decimal text", field="design")
    return number


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise InvalidError(f"a design's counts are whole numbers from 1 to {most}", field="design")
    return value

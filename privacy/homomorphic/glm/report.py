"""The released file of a federated model: what was asked, how it went, and the table. Pure.

Rules
-----
1. All of it is exact: nothing in it is private differentially, and it says so.
2. Every point that went to the sites is in it: each was an output of the rounds before.
3. Figures have ten significant digits; p-values six places and at least 0.000001.

Form: docs/formats/he-glm.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from kernel import canonical
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.glm.families import Family
from privacy.glm.inference import CONFIDENCE
from privacy.homomorphic.glm.plan import MOST_ROUNDS, MOST_ROWS, ExactGlm
from privacy.homomorphic.glm.steps import Fit, Unfit, Why, asked_point, point_json
from privacy.homomorphic.glm.table import Line, table_of
from privacy.jobs.strict import members_of, one_of, text_of

FORMAT = "privgate/he-glm/v1"
LIMIT = 2**20
PRIVACY = "exact: no noise was added, so this result has no differential privacy"
MOST_RATIO = math.log(10**9)
_TEN_DIGITS = Context(prec=10, rounding=ROUND_HALF_EVEN)
_SIX_PLACES = Decimal("0.000001")
_RATIO: Final[Mapping[Family, str]] = {Family.LOGISTIC: "odds_ratio", Family.POISSON: "rate_ratio"}
_MEMBERS: Final = (
    "v", "format", "privacy", "plan", "sites", "rounds", "points", "why", "rows", "cut", "confidence", "table",
)  # fmt: skip
_LINE: Final = ("term", "coefficient", "standard_error", "low", "high")


def glm_bytes(plan: ExactGlm, ending: Fit | Unfit, sites: int) -> bytes:
    """The released file.

    Args:
        plan: The model.
        ending: Where the course ended.
        sites: How many sites were added in every round.
    """
    fit = ending if isinstance(ending, Fit) else None
    return canonical.encode(
        {
            "v": 1,
            "format": FORMAT,
            "privacy": PRIVACY,
            "plan": plan.to_json(),
            "sites": sites,
            "rounds": ending.rounds,
            "points": [point_json(point) for point in ending.points],
            "why": ending.why.value if isinstance(ending, Unfit) else None,
            "rows": None if fit is None else fit.rows,
            "cut": None if fit is None else fit.cut,
            "confidence": str(CONFIDENCE),
            "table": None if fit is None else [line_json(plan.family, line) for line in table_of(plan, fit)],
        }
    )


def read_glm(data: bytes) -> dict[str, Any]:
    """Read a released file; raise `InvalidError` if it is none, or contradicts its own plan."""
    body = members_of(canonical.decode(data, limit=LIMIT, canonical=True), "glm", _MEMBERS)
    plan = ExactGlm.from_json(body["plan"])
    head = {"v": 1, "format": FORMAT, "privacy": PRIVACY, "confidence": str(CONFIDENCE)}
    if any(body[name] != value for name, value in head.items()):
        raise InvalidError("not the file of a federated model", field="format")
    rounds = whole(1, MOST_ROUNDS, rounds=body["rounds"])
    sites = whole(3, 2**16, sites=body["sites"])
    if not isinstance(body["points"], list) or len(body["points"]) != rounds - 1:
        raise InvalidError("every round but the first has a point", field="points")
    for point in body["points"]:
        asked_point(plan, {"point": point})
    _check_ending(plan, body, sites)
    return dict(body)


def _check_ending(plan: ExactGlm, body: Mapping[str, Any], sites: int) -> None:
    if body["why"] is not None:
        one_of(Why, body["why"], "why")
        if any(body[name] is not None for name in ("rows", "cut", "table")):
            raise InvalidError("a course without a fit has no table", field="table")
        return
    rows = whole(1, sites * MOST_ROWS, rows=body["rows"])
    whole(0, rows, cut=body["cut"])
    lines = body["table"]
    if not isinstance(lines, list) or len(lines) != plan.design.size:
        raise InvalidError("the table has one line for each coefficient", field="table")
    for number, (line, term) in enumerate(zip(lines, plan.design.names, strict=True)):
        members = members_of(
            line, "table", _LINE, (("p_value", _RATIO[plan.family]) if plan.family in _RATIO else ("p_value",))
        )
        if members["term"] != term or ("p_value" in members) != (number > 0):
            raise InvalidError("the table's lines are not those of the plan", field="table")
        low, middle, high = (_number(members[name]) for name in ("low", "coefficient", "high"))
        if not low <= middle <= high or _number(members["standard_error"]) < 0:
            raise InvalidError("an interval holds its coefficient", field="table")


def line_json(family: Family, line: Line) -> dict[str, Any]:
    """One line as it is written."""
    written: dict[str, Any] = {
        "term": line.term,
        "coefficient": _text(line.value),
        "standard_error": _text(line.error),
        "low": _text(line.low),
        "high": _text(line.high),
    }
    if line.p_value is not None:
        written["p_value"] = format(Decimal(max(line.p_value, float(_SIX_PLACES))).quantize(_SIX_PLACES), "f")
        if family in _RATIO and max(abs(line.low), abs(line.high)) < MOST_RATIO:
            ratio = {"value": line.value, "low": line.low, "high": line.high}
            written[_RATIO[family]] = {name: _text(math.exp(value)) for name, value in ratio.items()}
    return written


def _text(value: float) -> str:
    return format(_TEN_DIGITS.create_decimal(Decimal(value)), "f")


def _number(value: Any) -> float:
    try:
        number = float(text_of(value, "table"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidError("a table's figures are decimal text", field="table")
    return number

"""The counts that are released: request, plan, noisy columns, the chosen tree with its noisy pairs. Pure.

Rules
-----
1. The file is whole: with nothing but it and a schema anybody draws the same rows.
2. It is written in one way; what is not written so is refused. Which pairs are in it is what the job chose; that they
   are a tree that spans all columns, each with as many counts as its cells, is all that can be said of them beforehand.

Form: docs/formats/synthesis.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kernel import canonical
from kernel.errors import InvalidError
from privacy.jobs.synthesis_plan import SynthesisPlan, require_own
from privacy.jobs.synthesis_spec import Pair, SynthesisSpec
from privacy.statistics.report import kept
from privacy.synthesis.choosing import spans

FORMAT = "privgate/synthesis/v1"
LIMIT = 64 * 2**20
_PAIR: Final = {"first", "second", "noisy"}


@dataclass(frozen=True, slots=True)
class Branch:
    """A chosen pair of columns and its noisy counts, slice by slice, the second column's cells side by side."""

    pair: Pair
    noisy: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the mechanism gives: a noisy histogram of each column, and the tree in the order of its choices."""

    columns: tuple[tuple[int, ...], ...]
    tree: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Synthesis:
    """A released file that was read."""

    spec: SynthesisSpec
    plan: SynthesisPlan
    counted: Counted


def synthesis_bytes(spec: SynthesisSpec, plan: SynthesisPlan, counted: Counted) -> bytes:
    """The released file."""
    body: dict[str, Any] = {
        "v": 1,
        "format": FORMAT,
        "request": spec.to_json(),
        "plan": plan.to_fields(),
        "deviations": {"columns": str(plan.column_deviation), "pairs": str(plan.pair_deviation)},
        "columns": [list(noisy) for noisy in counted.columns],
        "tree": [
            {"first": branch.pair[0], "second": branch.pair[1], "noisy": list(branch.noisy)} for branch in counted.tree
        ],
    }
    return canonical.encode(body)


def read_synthesis(spec: SynthesisSpec, plan: SynthesisPlan, data: bytes) -> Synthesis:
    """Read a released file of this request and plan; raise `InvalidError` if it is of another or not written so."""
    found = open_synthesis(data)
    if found.plan != plan or found.spec != spec:
        raise InvalidError("these are counts of another request or plan")
    return found


def open_synthesis(data: bytes) -> Synthesis:
    """Read a released file by its own request and plan.

    Raises:
        InvalidError: It is not written so, or something in it does not belong together.
        TooLargeError: It is longer than any such file.
    """
    body = canonical.decode(data, limit=LIMIT, canonical=True)
    try:
        spec, plan = SynthesisSpec.from_json(body["request"]), SynthesisPlan.from_fields(body["plan"])
        columns = tuple(
            _counts(noisy, plan.slices * cells) for noisy, cells in zip(body["columns"], plan.cells, strict=True)
        )
        tree = tuple(_branch(branch, plan) for branch in body["tree"])
    except (KeyError, TypeError, ValueError):
        raise InvalidError("not a synthetic table's counts: a member is missing or of the wrong kind") from None
    require_own(plan, spec)
    if not spans(len(plan.cells), [branch.pair for branch in tree]):
        raise InvalidError("the pairs are no tree that spans all columns", field="tree")
    counted = Counted(columns, tree)
    if synthesis_bytes(spec, plan, counted) != data:
        raise InvalidError("the file is not written as a synthetic table's counts are")
    return Synthesis(spec, plan, counted)


def _branch(body: Any, plan: SynthesisPlan) -> Branch:
    if not isinstance(body, Mapping) or set(body) != _PAIR:
        raise TypeError
    pair = (body["first"], body["second"])
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < len(plan.cells) for n in pair):
        raise TypeError
    return Branch(pair, _counts(body["noisy"], plan.slices * plan.cells[pair[0]] * plan.cells[pair[1]]))


def _counts(values: Any, size: int) -> tuple[int, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != size:
        raise TypeError
    if not all(isinstance(value, int) and not isinstance(value, bool) and kept(value) == value for value in values):
        raise TypeError
    return tuple(values)

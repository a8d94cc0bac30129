"""A synthetic table from a released job of kind `synthesis`: pay once, explore for ever.

Rules
-----
1. Everything follows from the released counts and the caller's seed. Drawing rows looks at nobody and costs nothing.
2. Columns hang together along the tree that the job chose, in each slice if the table is drawn around a column. What
   holds beyond the tree is not in the rows.
3. Where a pair does not stand out of its noise its columns are drawn apart: `pairs` says so.

Form: docs/formats/synthesis.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kernel.canonical import LARGEST_INTEGER, Digest, digest_of
from kernel.checks import whole
from privacy.schema import TableSchema
from privacy.synthesis.inference import Shares, conditional, shares_of, strength, sums_along
from privacy.synthesis.report import Branch, Synthesis, open_synthesis
from privgate.drawing import MOST_ROWS, Drawing, Hanging

Sliced: TypeAlias = "list[list[Shares]]"
"""Of each slice, of each column: its distribution."""


@dataclass(frozen=True, slots=True)
class ChosenPair:
    """Two columns that hang together in the table.

    Attributes:
        first, second: Their names.
        apart: How far the counts are from independent, in rows, beyond what noise alone would show; where it is not
            above 0 the columns are drawn apart.
    """

    first: str
    second: str
    apart: float


@dataclass(frozen=True, slots=True)
class SyntheticTable:
    """Released counts from which rows are drawn.

    Attributes:
        around: The column that every pair was counted with, if there is one.
        pairs: What hangs together, in the order in which it was chosen.
    """

    around: str | None
    pairs: tuple[ChosenPair, ...]
    _of: Synthesis = field(repr=False)
    _digest: Digest = field(repr=False)

    @classmethod
    def read(cls, data: bytes) -> SyntheticTable:
        """Read a released file; raise `InvalidError` if it is not written as such a file is."""
        found = open_synthesis(data)
        shares = _shares(found)
        pairs = []
        for branch in found.counted.tree:
            first, second = (found.spec.columns[place].column for place in branch.pair)
            apart = math.fsum(_strengths(found, shares, branch))
            pairs.append(ChosenPair(first, second, apart))
        return cls(found.spec.around, tuple(pairs), found, Digest.of(data))

    @property
    def dataset(self) -> str:
        """Of what."""
        return str(self._of.spec.dataset)

    @property
    def columns(self) -> tuple[str, ...]:
        """Which columns the rows have, beside a made-up name where the schema has an identifier."""
        return tuple(axis.column for axis in self._of.spec.axes)

    def rows(self, schema: TableSchema, count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
        """Draw rows.

        Args:
            schema: The dataset's declared schema.
            count: How many.
            seed: The caller's own: another seed, other rows; the same, the same, and more begin with the fewer.

        Raises:
            InvalidError: A column that the schema does not have so, or a number out of range.
        """
        whole(1, MOST_ROWS, count=count)
        whole(0, LARGEST_INTEGER, seed=seed)
        self._of.spec.check(schema)
        key = digest_of("synthetic-table/v1", {"counts": str(self._digest), "seed": seed}).raw
        axes = {axis.column: axis for axis in self._of.spec.axes}
        return Drawing(axes, _hung(self._of), schema).rows(key, count)


def _hung(of: Synthesis) -> dict[str, Hanging]:
    """How each column is drawn: the one in the middle, then the tree from its first column outwards."""
    spec, shares = of.spec, _shares(of)
    centre = () if spec.centre is None else (spec.centre.column,)
    drawn = {} if spec.centre is None else {spec.centre.column: Hanging((), [_centre(of)])}
    drawn[spec.columns[0].column] = Hanging(centre, [each[0] for each in shares])
    reached, left = {0}, list(of.counted.tree)
    while left:
        branch = next(each for each in left if (each.pair[0] in reached) != (each.pair[1] in reached))
        left.remove(branch)
        known, new = branch.pair if branch.pair[0] in reached else branch.pair[::-1]
        given = _given(of, shares, branch, on_first=known == branch.pair[0])
        drawn[spec.columns[new].column] = Hanging((*centre, spec.columns[known].column), given)
        reached.add(new)
    return drawn


def _shares(of: Synthesis) -> Sliced:
    """Each column's distribution in each slice, from every count that has it."""
    column, pair = (float(each.number) ** 2 for each in (of.plan.column_deviation, of.plan.pair_deviation))
    sliced = []
    for number in range(of.plan.slices):
        found: list[list[tuple[Sequence[int], float]]] = [[(_slice(n, of, number), column)] for n in of.counted.columns]
        for branch in of.counted.tree:
            noisy, cells = _slice(branch.noisy, of, number), [of.plan.cells[place] for place in branch.pair]
            for side, place in enumerate(branch.pair):
                along = sums_along(noisy, cells[1], second=side == 1)
                found[place].append((along, pair * cells[1 - side]))
        sliced.append([shares_of(each) for each in found])
    return sliced


def _centre(of: Synthesis) -> Shares:
    """The distribution of the column in the middle: how many rows each slice has, by every column's histogram."""
    variance = float(of.plan.column_deviation.number) ** 2
    found = []
    for noisy, cells in zip(of.counted.columns, of.plan.cells, strict=True):
        found.append(([sum(_slice(noisy, of, number)) for number in range(of.plan.slices)], variance * cells))
    return shares_of(found)


def _given(of: Synthesis, shares: Sliced, branch: Branch, *, on_first: bool) -> list[Shares]:
    """In each slice the distribution of one column of a pair for each cell of the other."""
    given = []
    for number, strong in enumerate(_strengths(of, shares, branch)):
        first, second = (shares[number][place] for place in branch.pair)
        if strong > 0:
            given += conditional(_slice(branch.noisy, of, number), first, second, on_first=on_first)
        else:
            given += [second] * len(first) if on_first else [first] * len(second)
    return given


def _strengths(of: Synthesis, shares: Sliced, branch: Branch) -> list[float]:
    deviation = float(of.plan.pair_deviation.number)
    found = []
    for number in range(of.plan.slices):
        first, second = (shares[number][place] for place in branch.pair)
        found.append(strength(_slice(branch.noisy, of, number), deviation, first, second))
    return found


def _slice(noisy: tuple[int, ...], of: Synthesis, number: int) -> tuple[int, ...]:
    width = len(noisy) // of.plan.slices
    return noisy[number * width : (number + 1) * width]

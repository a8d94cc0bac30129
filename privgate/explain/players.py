"""Who shares a score: the columns of a row, or the elements of the one tensor that it is. Needs numpy.

Rules
-----
1. All numbers that a column becomes belong to one player: a one-hot category has no share of its own.
2. A row that is one tensor (an image, a text) would be one player; its elements play instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.jobs.features import FeatureSpec
from privacy.schema import Column, ColumnKind, TableSchema


@dataclass(frozen=True, slots=True)
class Players:
    """Names, and for each encoded number whose it is.

    Attributes:
        names: Of the players.
        owner: Shape [width]: the player's place.
        sides: Of the picture that the players are the points of, if they are.
    """

    names: tuple[str, ...]
    owner: NDArray[np.int64]
    sides: tuple[int, int] | None = None

    def alone(self) -> NDArray[np.bool_]:
        """Which players have one number only."""
        return np.asarray(np.bincount(self.owner, minlength=len(self.names)) == 1)


def players_of(features: FeatureSpec, schema: TableSchema) -> Players:
    """The players of a feature spec."""
    columns = [schema.column(name) for name in dict.fromkeys(feature.column for feature in features.columns)]
    if len(columns) == 1 and columns[0].kind is ColumnKind.TENSOR and len(features.columns) == 1:
        return _elements(columns[0])
    places = {column.name: place for place, column in enumerate(columns)}
    owner = [
        places[feature.column]
        for feature in features.columns
        for _ in range(feature.width(schema.column(feature.column)))
    ]
    return Players(tuple(places), np.array(owner, dtype=np.int64))


def _elements(column: Column) -> Players:
    names = tuple(f"{column.name}[{', '.join(map(str, at))}]" for at in product(*map(range, column.shape)))
    sides = [side for side in column.shape if side > 1]
    picture = (sides[0], sides[1]) if len(sides) == 2 else None
    return Players(names, np.arange(column.elements), picture)

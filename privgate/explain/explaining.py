"""Explaining a model: which rows, by which method, with what left over. Needs numpy, and torch for gradients."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.checks import whole
from kernel.errors import InvalidError
from privgate.derive.lineage import PublicRows
from privgate.encoding import Row, rows_of
from privgate.explain.explanation import Explanation
from privgate.explain.players import Players, players_of
from privgate.explain.scoring import Floats, Scores, Target
from privgate.explain.shapley import MOST_EXACT, by_walks, exactly
from privgate.models import Model

MOST_BACKGROUND = 512
MOST_ROWS = 2000
EXACT_UP_TO = 6


class Method(StrEnum):
    """How scores are shared out."""

    SHAP = "shap"
    EXACT = "exact-shap"
    GRADIENTS = "integrated-gradients"


def explain(
    model: Model,
    background: Sequence[Row],
    rows: Sequence[Row] | None = None,
    *,
    method: str = Method.SHAP,
    of: str | None = None,
    origin: str = "public",
    pairs: int = 2,
    seed: int = 0,
    about: str = "",
) -> Explanation:
    """Share out a model's scores among the columns that it reads.

    Args:
        model: What is explained.
        background: Rows to compare with: public, made up (`dataset.dummy(64)`), or drawn from a private release.
        rows: The rows that are explained, of your own; by default the background's.
        method: `shap` (exact for up to 6 columns, else by walks), `exact-shap` (up to 12), or `integrated-gradients`.
        of: Of several classes the one whose score is explained; by default each row's likeliest.
        origin: Where the background comes from: `public`, `dummy` or `dp-synthetic`.
        pairs: Of `shap`: pairs of walks for each background row, at least 2.
        seed: Of the walks' orders.
        about: What the picture is titled after.

    Raises:
        InvalidError: A choice that is not known, or no row that can be scored.
        ExtraMissingError: Gradients without torch.
    """
    if method not in list(Method):
        raise InvalidError(f"`method` must be one of {', '.join(Method)}", field="method")
    whole(2, 1000, pairs=pairs)
    scores, target = Scores(model), Target.of(model, of)
    behind = list(rows_of(background))
    before = _scorable(scores, behind, "background", MOST_BACKGROUND)
    given = before if rows is None else _scorable(scores, list(rows_of(rows)), "rows", MOST_ROWS)
    players = players_of(model.spec.features, model.schema)
    shared = _Sharing(scores, players, before, Method(method), pairs, np.random.default_rng(seed))
    outputs = scores(given)
    places = target.places(outputs)
    bases = scores(before).mean(axis=0)[places]
    values = np.array([shared.of(row, int(place)) for row, place in zip(given, places, strict=True)])
    reached = outputs[np.arange(len(given)), places]
    return Explanation(
        about=about,
        target=target.name,
        method=shared.method.value,
        background=PublicRows.of(behind, origin),
        players=players.names,
        values=values,
        inputs=_inputs(given, players),
        scores=reached,
        bases=bases,
        error=shared.error,
        sides=players.sides,
    )


def _scorable(scores: Scores, rows: Sequence[Row], field: str, most: int) -> Floats:
    if not rows or len(rows) > most:
        raise InvalidError(f"`{field}` has 1 to {most} rows: take some of them", field=field)
    encoded = scores.encoded(rows)
    if len(encoded):
        encoded = encoded[np.isfinite(scores(encoded)).all(axis=1)]
    if not len(encoded):
        raise InvalidError(f"no row of `{field}` can be scored: each lacks a column or a value", field=field)
    return encoded


def _inputs(rows: Floats, players: Players) -> NDArray[np.float64]:
    """The one number of each player who has one; NaN for the others: [rows, players]."""
    found = np.full((len(rows), len(players.names)), np.nan)
    found[:, players.owner] = rows
    found[:, ~players.alone()] = np.nan
    return found


class _Sharing:
    """One method, ready for one row after another."""

    def __init__(
        self,
        scores: Scores,
        players: Players,
        background: Floats,
        method: Method,
        pairs: int,
        draw: np.random.Generator,
    ) -> None:
        count = len(players.names)
        if method is Method.EXACT and count > MOST_EXACT:
            raise InvalidError(f"`exact-shap` is for at most {MOST_EXACT} columns: take `shap`", field="method")
        self.method = Method.EXACT if method is Method.SHAP and count <= EXACT_UP_TO else method
        self.error = 0.0
        self._scores, self._players, self._background = scores, players, background
        self._pairs, self._draw = pairs, draw
        self._gradients: Any = None
        if method is Method.GRADIENTS:
            try:
                from privgate.explain.gradients import Gradients
            except ImportError:
                from privgate.sdk.errors import ExtraMissingError

                raise ExtraMissingError("integrated gradients", "train") from None
            self._gradients = Gradients(scores)

    def of(self, row: Floats, place: int) -> Floats:
        """The values of one row."""

        def score(rows: Floats) -> Floats:
            return self._scores(rows)[:, place]

        if self._gradients is not None:
            wanted = float(score(row[None])[0] - score(self._background).mean())
            numbers = self._gradients.explain(row, self._background, place, wanted)
            return np.asarray(
                np.bincount(self._players.owner, weights=numbers, minlength=len(self._players.names)), dtype=np.float64
            )
        if self.method is Method.EXACT:
            return exactly(score, row, self._background, self._players)
        values, errors = by_walks(score, row, self._background, self._players, self._pairs, self._draw)
        self.error = max(self.error, float(errors.max()))
        return values

"""An explanation: whose share each part of a score is, as numbers, as a picture, and as a section of a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernel.errors import ConflictError
from privgate.derive.lineage import PublicRows
from privgate.explain.picture import draw

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Shares of scores.

    Attributes:
        about: The release, or what else was explained.
        target: Which score.
        method: How it was shared out.
        background: What rows were compared with.
        players: Columns, or elements of the one tensor.
        values: Shares, [rows, players].
        inputs: The encoded number of each player who has one, else NaN, [rows, players].
        scores: Of each row; `bases` the background's mean of the same score.
        error: The largest standard error that chance left in a share.
        sides: Of the picture whose points the players are.
    """

    about: str
    target: str
    method: str
    background: PublicRows
    players: tuple[str, ...] = field(repr=False)
    values: Floats = field(repr=False)
    inputs: Floats = field(repr=False)
    scores: Floats = field(repr=False)
    bases: Floats = field(repr=False)
    error: float
    sides: tuple[int, int] | None = None

    @property
    def gap(self) -> float:
        """By how much a row's shares miss its score less the background's, at most."""
        return float(np.abs(self.values.sum(axis=1) - (self.scores - self.bases)).max())

    @property
    def importance(self) -> Mapping[str, float]:
        """The mean size of each player's share, the largest first."""
        sizes = np.abs(self.values).mean(axis=0)
        return {self.players[place]: float(sizes[place]) for place in np.argsort(-sizes, kind="stable")}

    @property
    def sentence(self) -> str:
        """What it is, in words."""
        chance = f", standard error of a share at most {self.error:.2g}" if self.error else ""
        return (
            f"Shares of the {self.target} by {self.method}, of {len(self.scores)} rows against a background of "
            f"{self.background}. They add up to the score less the background's, to {self.gap:.2g}{chance}. "
            "They tell what the model does, not why things are as they are."
        )

    def to_svg(self) -> str:
        """The picture."""
        return draw(
            f"What moves the {self.target}" + (f" in {self.about}" if self.about else ""),
            self.sentence,
            self.players,
            self.values,
            self.inputs,
            self.sides,
        )

    def save(self, path: str | Path) -> Path:
        """Write the picture; raise `ConflictError` rather than write over something else."""
        target, content = Path(path), self.to_svg()
        if target.is_symlink() or (target.exists() and target.read_text(encoding="utf-8") != content):
            raise ConflictError(f"`{target}` holds something else: choose another name", field="path")
        target.write_text(content, encoding="utf-8")
        return target

    def card(self, card: str, picture: str = "explained.svg") -> str:
        """A model card with this explanation as its last section; the card itself stays as it was signed for.

        Args:
            card: The release's own card.
            picture: Where the picture lies, as the card will name it.
        """
        rows = [f"| {_cell(name)} | {size:.3g} |" for name, size in list(self.importance.items())[:10]]
        section = [
            "## Explanation",
            "Added by whoever holds the release; no part of the certificate.",
            "",
            f"![{self.sentence}]({picture})",
            "",
            self.sentence,
            "",
            "| column | mean size of its share |",
            "| --- | --- |",
            *rows,
        ]
        return card.rstrip("\n") + "\n\n" + "\n".join(section) + "\n"

    def _repr_svg_(self) -> str:
        return self.to_svg()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Shapes of a released additive model: what each column adds to its score, as a picture and as text.

Rules
-----
1. What is drawn is the model itself, whose noise was paid for: drawing it costs nothing more.
2. The band is how far the noise of privacy may have moved a point (`privacy.jobs.additive`): no confidence interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel.errors import ConflictError, InvalidError
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.graph.templates import ModelChoice, Template
from privacy.jobs.additive import Shape, noise_band, shapes_of

if TYPE_CHECKING:
    from privacy.release.certificate import Predicate
    from privgate.models import Model

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 120, 60, 30, 46
_BAR: Final = 20
_CAPTION: Final = "what each column adds to the score; grey: how far the noise of privacy may have moved a point"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """What each column adds to the score of an additive model; build it with `of`, or with `release.shapes()`.

    Attributes:
        shapes: One for each column.
        band: How far the noise of privacy may have moved a point, 95 times in 100; nothing if it cannot be said.
    """

    shapes: tuple[Shape, ...]
    band: float | None = None

    @classmethod
    def of(cls, model: Model, certified: Predicate | None = None) -> Shapes:
        """The shapes of a released model, with the band that follows from its certificate.

        Raises:
            InvalidError: The model is not additive.
        """
        chosen = model.spec.model
        additive = (Template.GAM, Template.LOGISTIC, Template.LINEAR)
        if not isinstance(chosen, ModelChoice) or chosen.template not in additive or model.graph.outputs != 1:
            raise InvalidError("only a model that adds up its columns has shapes: gam, logistic, linear", field="model")
        weights = model.weights[model.graph.graph.nodes[0].weights[0]]
        found = shapes_of(model.spec.features, model.schema, weights)
        return cls(shapes=found, band=None if certified is None else _band(model, certified))

    @property
    def sentence(self) -> str:
        """What the band says."""
        if self.band is None:
            return "How far the noise of privacy moved a point cannot be said for this run."
        return f"The noise of privacy moved a point by at most about {self.band:.2f}, 95 times in 100."

    def text(self) -> str:
        """The shapes as lines of text."""
        most = _largest(self.shapes) or 1.0
        lines = [self.sentence, ""]
        for shape in self.shapes:
            lines.append(shape.column + (" (a line between)" if shape.line else ""))
            wide = max(len(point) for point in shape.points)
            for point, value in zip(shape.points, shape.values, strict=True):
                bar = "#" * round(_BAR * abs(value) / most)
                sides = (bar.rjust(_BAR), "") if value < 0 else (" " * _BAR, bar)
                lines.append(f"  {point.ljust(wide)} {value:+8.3f} {'|'.join(sides)}")
            lines.append("")
        return "\n".join(lines)

    def svg(self) -> str:
        """The shapes as one picture: a panel for each column, all on one scale."""
        noise = self.band or 0.0
        most = (_largest(self.shapes) + noise) or 1.0
        height = TOP + len(self.shapes) * (HEIGHT + GAP)
        panels = "".join(_panel(shape, TOP + at * (HEIGHT + GAP), most, noise) for at, shape in enumerate(self.shapes))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
            f'font-family="sans-serif" font-size="11" role="img"><title>Shapes of an additive model</title>'
            f"<desc>{escape(_CAPTION)}</desc>{panels}</svg>\n"
        )

    def save(self, path: str | Path) -> Path:
        """Write the picture; raise `ConflictError` rather than overwrite a file with other content."""
        target, drawn = Path(path), self.svg()
        if target.is_symlink() or (target.exists() and target.read_text(encoding="utf-8") != drawn):
            raise ConflictError(f"`{target}` holds something else: choose another name", field="path")
        target.write_text(drawn, encoding="utf-8")
        return target

    def card(self, card: str, picture: str = "shapes.svg") -> str:
        """A model card with the shapes as its last section; the card itself stays as it was signed for.

        Args:
            card: The release's own card.
            picture: Where the picture lies, as the card will name it.
        """
        section = ("## Shapes", "", f"What each column adds to the score. {self.sentence}", "", f"![Shapes]({picture})")
        return card.rstrip("\n") + "\n\n" + "\n".join(section) + "\n"


def _band(model: Model, certified: Predicate) -> float | None:
    """The band of the one run that a certificate is about; nothing if it is about several, or about something else."""
    mechanisms, normaliser = [part.mechanism for part in certified.mechanisms], certified.engine.normaliser
    if len(mechanisms) != 1 or not isinstance(mechanisms[0], PoissonSampledGaussian) or normaliser is None:
        return None
    return noise_band(model.spec.recipe, mechanisms[0].noise_multiplier.number, normaliser.number)


def _largest(shapes: Sequence[Shape]) -> float:
    return max((abs(value) for shape in shapes for value in shape.values), default=0.0)


def _panel(shape: Shape, top: int, most: float, noise: float) -> str:
    step = WIDTH / len(shape.points)
    middle = top + HEIGHT / 2

    def level(value: float) -> float:
        return middle - value / most * (HEIGHT / 2)

    parts = [
        f'<text x="0" y="{top - 6}" font-weight="bold">{escape(shape.column)}</text>',
        f'<text x="0" y="{top + 8}">{most:+.2f}</text><text x="0" y="{top + HEIGHT}">{-most:+.2f}</text>',
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="#bbb"/>',
    ]
    for at, (point, value) in enumerate(zip(shape.points, shape.values, strict=True)):
        x = LEFT + at * step
        if noise:
            low, tall = level(value + noise), 2 * noise / most * (HEIGHT / 2)
            parts.append(f'<rect x="{x:.1f}" y="{low:.1f}" width="{step:.1f}" height="{tall:.1f}" fill="#e4e4e4"/>')
        y = f"{level(value):.1f}"
        told = f"<title>{escape(point)}: {value:+.3f}</title>"
        line = (
            f'<line x1="{x:.1f}" x2="{x + step:.1f}" y1="{y}" y2="{y}" stroke="#1f4e79" stroke-width="2">{told}</line>'
        )
        parts.append(line)
    ends = (shape.points[0], shape.points[-1])
    parts.append(f'<text x="{LEFT}" y="{top + HEIGHT + 14}">{escape(ends[0])}</text>')
    right = f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 14}" text-anchor="end">{escape(ends[1])}</text>'
    return "".join([*parts, right])

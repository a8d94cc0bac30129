"""Shapes of a released additive model: what each column adds to its score, as a picture and as text.

Rules
-----
1. What is drawn is the model itself, whose noise was paid for: drawing it costs nothing more.
2. The band is how far the noise of privacy may have moved a point (`privacy.jobs.additive`): no confidence interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from kernel.errors import InvalidError
from privacy.graph.templates import ModelChoice, Template
from privacy.jobs.additive import Shape, shapes_of

if TYPE_CHECKING:
    from privgate.models import Model

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 120, 60, 30, 46
_BAR: Final = 20
_CAPTION: Final = "what each column adds to the score; grey: how far the noise of privacy may have moved a point"


def shapes(model: Model) -> tuple[Shape, ...]:
    """What each column adds to the score of a released additive model.

    Raises:
        InvalidError: It is not additive.
    """
    chosen = model.spec.model
    if not isinstance(chosen, ModelChoice) or chosen.template not in (Template.GAM, Template.LOGISTIC, Template.LINEAR):
        raise InvalidError("only a model that adds up its columns has shapes: gam, logistic or linear", field="model")
    matrix = model.graph.graph.nodes[0].weights[0]
    return shapes_of(model.spec.features, model.schema, model.weights[matrix])


def text(found: Sequence[Shape], band: float | None = None) -> str:
    """The shapes as lines of text."""
    most = max((abs(value) for shape in found for value in shape.values), default=0.0) or 1.0
    lines = [] if band is None else [f"noise of privacy: at most about ±{band:.2f} for a point, 95 times in 100", ""]
    for shape in found:
        lines.append(shape.column + (" (a line between)" if shape.line else ""))
        wide = max(len(point) for point in shape.points)
        for point, value in zip(shape.points, shape.values, strict=True):
            bar = "#" * round(_BAR * abs(value) / most)
            sides = (bar.rjust(_BAR), "".ljust(_BAR)) if value < 0 else (" " * _BAR, bar.ljust(_BAR))
            lines.append(f"  {point.ljust(wide)} {value:+8.3f} {'|'.join(sides)}".rstrip())
        lines.append("")
    return "\n".join(lines)


def svg(found: Sequence[Shape], band: float | None = None) -> str:
    """The shapes as one picture: a panel for each column, all on one scale."""
    noise = band or 0.0
    most = (max((abs(value) for shape in found for value in shape.values), default=0.0) + noise) or 1.0
    height = TOP + len(found) * (HEIGHT + GAP)
    panels = "".join(_panel(shape, TOP + at * (HEIGHT + GAP), most, noise) for at, shape in enumerate(found))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        f'font-family="sans-serif" font-size="11" role="img"><title>Shapes of an additive model</title>'
        f"<desc>{escape(_CAPTION)}</desc>{panels}</svg>\n"
    )


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

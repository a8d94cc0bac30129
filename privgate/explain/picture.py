"""The picture of an explanation: plain SVG, drawn here. Numbers in, text out, nothing loaded and nothing installed.

Rules
-----
1. Every text is escaped; a column's name is somebody else's.
2. The picture says in words what it shows, for who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

MOST_LINES = 15
MOST_DOTS = 200
_LEFT, _WIDTH, _TOP, _ROW, _RIGHT, _FOOT = 220, 560, 96, 30, 110, 56
_LONGEST: Final = 30
_LOW, _HIGH, _NEITHER = (72, 120, 176), (194, 136, 74), "#555555"
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:11px;fill:#555}"
    ".head{font-size:16px;font-weight:600}.zero{stroke:#555;stroke-dasharray:4 3}.bar{fill:#e8eef3}"
)
_DOTS: Final = (
    "A dot is a row: right of the line it raises the score, left of it lowers it. Blue: the column's value is low, "
    "orange: high."
)
_BARS: Final = "The bar and the number are the mean size of the share."
_POINTS: Final = "The mean share of each point: orange raises the score, blue lowers it."


def draw(
    title: str,
    told: str,
    names: Sequence[str],
    values: NDArray[Any],
    inputs: NDArray[Any],
    sides: tuple[int, int] | None,
) -> str:
    """Draw shares [rows, players]: a line of dots for each player, or a picture where players are its points."""
    if sides is not None:
        body, width, height = _heat(values, sides)
    else:
        body, width, height = _lines(names, values, inputs)
    box = f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(told)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="24" y="32" class="head">{escape(title)}</text>',
        *body,
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lines(names: Sequence[str], values: NDArray[Any], inputs: NDArray[Any]) -> tuple[list[str], int, int]:
    sizes = np.abs(values).mean(axis=0)
    chosen = np.argsort(-sizes, kind="stable")[:MOST_LINES]
    shown = values[:MOST_DOTS]
    reach = float(np.abs(shown[:, chosen]).max()) or 1.0
    middle, scale = _LEFT + _WIDTH / 2, _WIDTH / 2 / reach
    height = _TOP + _ROW * len(chosen) + _FOOT
    bottom = _TOP + _ROW * len(chosen)
    body = [
        f'<text x="24" y="56" class="small">{_DOTS}</text>',
        f'<text x="24" y="72" class="small">{_BARS}</text>',
    ]
    for line, place in enumerate(chosen):
        at = _TOP + _ROW * line + _ROW / 2
        body += _line(names[place], float(sizes[place]), at, middle, scale)
        body += _dots(shown[:, place], inputs[: len(shown), place], at, middle, scale)
    body += [
        f'<line x1="{middle:.1f}" y1="{_TOP - 6}" x2="{middle:.1f}" y2="{bottom}" class="zero"/>',
        f'<text x="{middle:.1f}" y="{bottom + 18}" text-anchor="middle" class="small">0</text>',
        f'<text x="{_LEFT}" y="{bottom + 18}" class="small">{-reach:.3g}</text>',
        f'<text x="{_LEFT + _WIDTH}" y="{bottom + 18}" text-anchor="end" class="small">{reach:.3g}</text>',
    ]
    if len(names) > len(chosen):
        body.append(
            f'<text x="24" y="{bottom + 38}" class="small">{len(names) - len(chosen)} more move it less.</text>'
        )
    return body, _LEFT + _WIDTH + _RIGHT, height


def _line(name: str, size: float, at: float, middle: float, scale: float) -> Iterator[str]:
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    half = size * scale
    yield f'<rect x="{middle - half:.1f}" y="{at - 9:g}" width="{2 * half:.1f}" height="18" class="bar"/>'
    yield f'<text x="24" y="{at + 4:g}">{escape(short)}<title>{escape(name)}</title></text>'
    yield f'<text x="{_LEFT + _WIDTH + 16}" y="{at + 4:g}" class="small">{size:.3g}</text>'


def _dots(values: NDArray[Any], inputs: NDArray[Any], at: float, middle: float, scale: float) -> Iterator[str]:
    low, high = float(np.min(inputs)), float(np.max(inputs))
    for number, (value, given) in enumerate(zip(values.tolist(), inputs.tolist(), strict=True)):
        # A fixed wobble keeps dots apart: the golden ratio spreads any number of them evenly.
        off = ((number * 0.6180339887) % 1 - 0.5) * 14
        share = (given - low) / (high - low) if high > low else math.nan
        colour = _NEITHER if math.isnan(share) else _mixed(share)
        yield (
            f'<circle cx="{middle + value * scale:.1f}" cy="{at + off:.1f}" r="2.6" fill="{colour}" '
            'fill-opacity="0.75"/>'
        )


def _mixed(share: float) -> str:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(_LOW, _HIGH, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _heat(values: NDArray[Any], sides: tuple[int, int]) -> tuple[list[str], int, int]:
    """The mean share of each point: blue lowers, orange raises, white does nothing."""
    means = values.mean(axis=0).reshape(sides)
    reach = float(np.abs(means).max()) or 1.0
    cell = max(2, min(24, 560 // max(sides)))
    body = [
        f'<text x="24" y="56" class="small">{_POINTS}</text>',
    ]
    for (down, right), value in np.ndenumerate(means):
        strength = abs(float(value)) / reach
        red, green, blue = (round(255 + (c - 255) * strength) for c in (_HIGH if value > 0 else _LOW))
        body.append(
            f'<rect x="{24 + cell * right}" y="{76 + cell * down}" width="{cell}" height="{cell}" '
            f'fill="#{red:02x}{green:02x}{blue:02x}"/>'
        )
    bottom = 76 + cell * sides[0]
    body.append(f'<text x="24" y="{bottom + 20}" class="small">strongest: {reach:.3g}</text>')
    return body, max(420, 48 + cell * sides[1]), bottom + 36

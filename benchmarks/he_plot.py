"""The picture of `make bench-he`: how many times less ours is than the usual way, a bar for each quantity.

Plain SVG, drawn here: numbers in, text out, nothing loaded and nothing installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.he_lines import Figure
from benchmarks.lines import RESULTS

PICTURE: Final = RESULTS / "he.svg"
_LEFT, _WIDTH, _TOP, _ROW, _RIGHT, _FOOT = 330, 480, 60, 30, 80, 46
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:11px;fill:#555}"
    ".head{font-size:16px;font-weight:600}.value{font-size:11px;font-weight:600;fill:#0b6e4f}"
    ".grid{stroke:#e2e2e2}"
)


def picture(figures: Sequence[Figure]) -> str:
    """The whole SVG file."""
    drawn = [(figure, figure.times) for figure in figures if figure.times is not None and figure.times > 1]
    decades = max(1, math.ceil(math.log10(max(times for _, times in drawn)))) if drawn else 1
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _ROW * len(drawn) + _FOOT
    box = f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc"'
    told = "; ".join(f"{_name(figure)} {times:.3g} times" for figure, times in drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        '<title id="title">Homomorphic encryption: times less than the usual way</title>',
        f'<desc id="desc">{escape(told)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<text x="24" y="32" class="head">Times less than the usual way (logarithmic); longer is better</text>',
        *_grid(decades, len(drawn)),
    ]
    for number, (figure, times) in enumerate(drawn):
        parts += _bar(figure, times, decades, _TOP + _ROW * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(decades: int, rows: int) -> Iterator[str]:
    bottom = _TOP + _ROW * rows
    for decade in range(decades + 1):
        place = _LEFT + _WIDTH * decade / decades
        yield f'<line x1="{place:.1f}" y1="{_TOP - 8}" x2="{place:.1f}" y2="{bottom}" class="grid"/>'
        yield f'<text x="{place:.1f}" y="{bottom + 18}" text-anchor="middle" class="small">{10**decade:,}</text>'


def _bar(figure: Figure, times: float, decades: int, top: float) -> Iterator[str]:
    length = _WIDTH * math.log10(times) / decades
    yield f'<text x="24" y="{top + 15:g}" class="small">{escape(_name(figure))}</text>'
    yield (
        f'<rect x="{_LEFT}" y="{top + 3:g}" width="{length:.1f}" height="{_ROW - 12}" fill="#0b6e4f">'
        f"<title>{escape(_name(figure))}: {times:.3g} times less</title></rect>"
    )
    yield f'<text x="{_LEFT + length + 6:.1f}" y="{top + 16:g}" class="value">{times:,.3g}</text>'


def _name(figure: Figure) -> str:
    return f"{figure.quantity}, {figure.profile}"

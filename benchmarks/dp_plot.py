"""The picture of `make bench-dp`: slowdown against plain torch on a logarithmic scale, a line for each case.

Plain SVG, drawn here: numbers in, text out, nothing loaded and nothing installed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.dp_engines import BASELINE, ENGINES
from benchmarks.dp_results import Figure, in_order
from benchmarks.lines import RESULTS

PICTURE = RESULTS / "dp.svg"
_LEFT, _WIDTH, _TOP, _ROW, _RIGHT, _FOOT = 170, 640, 108, 46, 40, 46
_COLOURS: Final = dict(
    zip(ENGINES, ("#555555", "#9a9a9a", "#c2884a", "#0b6e4f", "#4878b0", "#8a5fb0", "#b8475f"), strict=True)
)
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:11px;fill:#555}"
    ".head{font-size:16px;font-weight:600}.value{font-size:11px;font-weight:600;fill:#0b6e4f}"
    ".grid{stroke:#e2e2e2}.one{stroke:#555;stroke-dasharray:4 3}"
)


class _Scale:
    """Slowdowns to places: logarithmic, from a tick below the least to a tick above the largest."""

    def __init__(self, values: Sequence[float]) -> None:
        low = max((tick for tick in _TICKS if tick <= min(values)), default=_TICKS[0])
        high = min((tick for tick in _TICKS if tick >= max(values)), default=_TICKS[-1])
        self.ticks = [tick for tick in _TICKS if low <= tick <= high]
        self._low, self._span = math.log(low), math.log(high) - math.log(low)

    def at(self, value: float) -> float:
        """The horizontal place of a slowdown."""
        return _LEFT + _WIDTH * (math.log(value) - self._low) / self._span


def picture(figures: Sequence[Figure]) -> str:
    """The whole SVG file."""
    ordered = in_order(figures)
    cases = list(dict.fromkeys(figure.case for figure in ordered))
    scale = _Scale([0.5, 2, *(figure.slowdown_vs_plain for figure in ordered)])
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _ROW * len(cases) + _FOOT
    box = f'viewBox="0 0 {width} {height}" role="img" aria-labelledby="title desc"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        '<title id="title">Private training: slowdown against plain torch</title>',
        f'<desc id="desc">{escape(_told(ordered))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<text x="24" y="32" class="head">Slowdown against plain torch; further left is faster</text>',
        *_legend(ordered),
        *_grid(scale, len(cases)),
    ]
    for number, case in enumerate(cases):
        own = [figure for figure in ordered if figure.case == case and figure.engine != BASELINE]
        parts += _line(scale, case, _TOP + _ROW * number + _ROW / 2, own)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(figures: Sequence[Figure]) -> Iterator[str]:
    place = 24.0
    for engine in [engine for engine in ENGINES if any(figure.engine == engine for figure in figures)]:
        yield f'<circle cx="{place + 6:g}" cy="58" r="6" fill="{_COLOURS[engine]}"/>'
        yield f'<text x="{place + 17:g}" y="62.5">{engine}</text>'
        place += 38 + 7.2 * len(engine)


def _grid(scale: _Scale, lines: int) -> Iterator[str]:
    bottom = _TOP + _ROW * lines
    for tick in scale.ticks:
        place = scale.at(tick)
        kind = "one" if tick == 1 else "grid"
        yield f'<line x1="{place:.1f}" y1="{_TOP - 8}" x2="{place:.1f}" y2="{bottom}" class="{kind}"/>'
        yield f'<text x="{place:.1f}" y="{bottom + 18}" text-anchor="middle" class="small">{tick:g}x</text>'
    yield (
        f'<text x="{_LEFT + _WIDTH / 2}" y="{bottom + 36}" text-anchor="middle" class="small">'
        "processor time for a sample, relative to plain (logarithmic)</text>"
    )


def _line(scale: _Scale, case: str, height: float, figures: Sequence[Figure]) -> Iterator[str]:
    yield f'<text x="24" y="{height + 4:g}">{escape(case)}</text>'
    yield f'<circle cx="{scale.at(1):.1f}" cy="{height:g}" r="6" fill="{_COLOURS[BASELINE]}"/>'
    # Ours is drawn last, above the others.
    for figure in sorted(figures, key=lambda figure: figure.engine == "ours"):
        place = scale.at(figure.slowdown_vs_plain)
        told = f"{case}, {figure.engine}: {figure.slowdown_vs_plain:.3g}x"
        yield (
            f'<circle cx="{place:.1f}" cy="{height:g}" r="6" fill="{_COLOURS[figure.engine]}" stroke="#ffffff">'
            f"<title>{escape(told)}</title></circle>"
        )
        if figure.engine == "ours":
            yield (
                f'<text x="{place:.1f}" y="{height - 11:g}" text-anchor="middle" class="value">'
                f"{figure.slowdown_vs_plain:.3g}x</text>"
            )


def _told(figures: Sequence[Figure]) -> str:
    """For who cannot see it."""
    ours = [f"{figure.case} {figure.slowdown_vs_plain:.3g}" for figure in figures if figure.engine == "ours"]
    return (
        "A line for each case and a dot for each engine; the place of a dot says how many times more processor time a "
        f"sample takes than with plain torch. Ours: {', '.join(ours)}."
    )

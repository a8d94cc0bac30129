"""How wide the columns of a table may be, so that it fits a screen: a pure function of its texts.

Rules
-----
1. Nothing is lost: what does not fit side by side is said to, and stands one below the other.
2. The first column, numbers and short words stay in one piece; long words, such as ids, are folded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

GAP: Final = 2
SHORT: Final = 8
"""What a part of a word must at least have room for."""
_NUMBER: Final = re.compile(r"[-<+]?[0-9][0-9.eE%+-]*")


def widths(header: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The width of each column within so much room; nothing if they do not fit side by side."""
    columns = [[name, *(row[place] for row in rows)] for place, name in enumerate(header)]
    natural = [max(map(len, column)) for column in columns]
    least = [natural[0], *(max(map(_least, column)) for column in columns[1:])]
    spare = room - sum(least) - GAP * (len(columns) - 1)
    if spare < 0:
        return None
    found, left = list(least), len(columns)
    for place in sorted(range(len(columns)), key=lambda place: natural[place] - least[place]):
        more = min(natural[place] - least[place], -(-spare // left))
        found[place] += more
        spare, left = spare - more, left - 1
    return found


def _least(text: str) -> int:
    """The longest part of a text that is not to be broken."""
    return max((len(word) if _NUMBER.fullmatch(word) else min(len(word), SHORT) for word in text.split()), default=0)

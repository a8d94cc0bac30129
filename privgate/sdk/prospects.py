"""Whether a quoted job can succeed, in words: what noise will do to it, and what would help a job of its kind.

Rules
-----
1. The word is the gateway's; here it is said what it is about. Of a tuning that is a try, or the scores that choose.
2. A job that does not fit will not run: that is said before the word about its noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DOES: Final = {"doubtful": "will cost much of", "hopeless": "will drown"}
_OTHER: Final = ("its result", "ask for more epsilon")
_SUFFERS: Final = {
    "training": ("what it learns", "ask for more epsilon, or for a smaller model"),
    "tuning": ("what a try learns", "ask for more epsilon, or for a smaller model"),
    "evaluation": ("its figures", "ask for more epsilon or for fewer measures, or have more people held out"),
    "glm": ("the table: its intervals, or all of it", "ask for more epsilon, or for fewer predictors"),
    "synthesis": ("what holds between columns", "ask for more epsilon, for fewer columns or for fewer bins"),
    "statistics": ("an answer", "ask for more epsilon or for fewer queries, or give `weight` to those that matter"),
}
"""For each kind of job what the noise is in, and what would help."""
_SCORES: Final = ("the scores that choose between tries", "raise `score_epsilon`, or have more people held out")


def prospect(kind: str, word: str | None, *, fits: bool, selection: Mapping[str, Any] | None = None) -> str:
    """What to expect of a job.

    Args:
        kind: Of job.
        word: `likely`, `doubtful`, `hopeless`, or nothing, as the gateway says.
        fits: Whether the budget holds it now.
        selection: Of a tuning, as the quote has it.
    """
    if not fits:
        return "no, it does not fit the budget" + (f" (by its noise alone it would be {word})" if word else "")
    if word is None:
        return "nothing is said of this kind of job"
    return f"{word}, by declared sizes" if word not in _DOES else f"{word}: {suffering(kind, word, selection)}"


def suffering(kind: str, word: str, selection: Mapping[str, Any] | None = None) -> str:
    """What noise does to a job of such a word, and what helps; of a tuning, to whichever part the word comes from."""
    parts = [_SUFFERS.get(kind, _OTHER)]
    if selection is not None:
        judged = ((parts[0], selection.get("try_feasibility")), (_SCORES, selection.get("score_feasibility")))
        parts = [part for part, its_word in judged if its_word == word] or parts
    return "; ".join(f"noise {_DOES[word]} {what}: {helps}" for what, helps in parts)

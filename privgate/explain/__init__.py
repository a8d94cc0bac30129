"""What each column does to a released model's scores, against a background of public rows.

Usage:
    explained = release.explain(dataset.dummy(64), origin="dummy")
    explained.save("explained.svg")

Rules
-----
1. Nothing is read but the released model, the background and the rows that the caller has: it costs nothing, and shows
   nobody who was trained on.
2. Attributions of a row add up to its score less the background's mean score; by how much they miss is stated.
3. An explanation tells what the model does, not why things are as they are. Its picture says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privgate.explain.explaining import explain
    from privgate.explain.explanation import Explanation

__all__ = ["Explanation", "explain"]


def __getattr__(name: str) -> Any:
    """Load what needs numpy when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'privgate.explain' has no attribute {name!r}")
    try:
        from privgate.explain import explaining, explanation
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError("explaining a model", "train") from None
    return explaining.explain if name == "explain" else explanation.Explanation

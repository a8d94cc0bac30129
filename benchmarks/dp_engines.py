"""Who takes part in which case of `make bench-dp`; each is imported when it is built."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Final

from benchmarks.dp_cases import Case
from benchmarks.dp_timing import Steps

BASELINE = "plain"
_MADE_BY: Final[Mapping[str, tuple[str, str]]] = {
    "plain": ("plain", "plain"),
    "plain-fused": ("fused", "plain_fused"),
    "plain-dataloader": ("plain", "with_loader"),
    "ours": ("ours", "private"),
    "opacus-ghost": ("opacus_modes", "ghost"),
    "opacus-hooks": ("opacus_modes", "hooks"),
    "jax-privacy": ("jax_modes", "private"),
}
ENGINES: Final = tuple(_MADE_BY)
BY_HAND = ("logistic", "mlp")
"""The networks that somebody would write without autograd."""


def takes_part(engine: str, case: Case) -> bool:
    """Whether the engine has something to say about the case, here."""
    match engine:
        case "plain-fused":
            return case.network.name in BY_HAND
        case "plain-dataloader":
            return case.end_to_end
        case "jax-privacy":
            return importlib.util.find_spec("jax_privacy") is not None
    return True


def built(engine: str, case: Case) -> Steps:
    """An engine ready to take steps of a case."""
    module, name = _MADE_BY[engine]
    made: Steps = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)(case)
    return made

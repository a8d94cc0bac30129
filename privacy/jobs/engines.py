"""Which engine computes clipped sums: what a trainer may ask for, and what a plan then names.

Rules
-----
1. The choice follows from the request and the graph, so it is known before approval.
2. Every engine clips at the same bound; the choice changes speed and memory, never the price or the guarantee.
3. What cannot be done is refused here, by the operation's name, not in a child.
"""

from __future__ import annotations

from enum import StrEnum

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph
from privacy.graph.ops import OPERATIONS


class EngineChoice(StrEnum):
    """What a recipe may ask for."""

    AUTO = "auto"
    BOOKKEEPING = "bookkeeping"
    OPACUS = "opacus"


class EngineName(StrEnum):
    """What a plan names: one pass that forms few gradients, one row at a time under `vmap`, or Opacus."""

    BOOKKEEPING = "bookkeeping"
    VMAP = "vmap"
    OPACUS = "opacus"


def engine_for(choice: EngineChoice, model: CheckedGraph) -> EngineName:
    """The engine of a plan.

    Book-keeping where every operation is proven to keep rows apart; else the gradient of each row is formed under
    `vmap`. Opacus only where it is asked for.

    Raises:
        InvalidError: The engine that is asked for does not cover this graph.
    """
    unproven = first_unproven(model)
    if choice is not EngineChoice.AUTO and unproven is not None:
        raise InvalidError(
            f"node `{unproven}` is computed row by row: `engine` must be auto for this graph", field="engine"
        )
    if choice is EngineChoice.OPACUS:
        return EngineName.OPACUS
    return EngineName.BOOKKEEPING if unproven is None else EngineName.VMAP


def first_unproven(model: CheckedGraph) -> str | None:
    """The first node whose operation is not proven to keep rows apart, if there is one."""
    return next((node.name for node in model.graph.nodes if OPERATIONS[node.op].batch is None), None)

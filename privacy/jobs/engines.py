"""Which engine computes clipped sums: what a trainer may ask for, and what a plan then names.

Rules
-----
1. The choice follows from the request, the graph and the declared rows per unit, so it is known before approval.
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


def engine_for(choice: EngineChoice, model: CheckedGraph, rows_per_unit: int) -> EngineName:
    """The engine of a plan.

    Book-keeping where every operation is proven to keep rows apart and a unit is one row; else the gradient of each
    row is formed under `vmap`. Opacus only where it is asked for.

    Raises:
        InvalidError: The engine that is asked for does not cover this graph or these units.
    """
    unproven = first_unproven(model)
    if choice is not EngineChoice.AUTO and unproven is not None:
        raise InvalidError(
            f"node `{unproven}` is computed row by row: `engine` must be auto for this graph", field="engine"
        )
    if choice is EngineChoice.OPACUS:
        return EngineName.OPACUS
    if rows_per_unit == 1 and unproven is None:
        return EngineName.BOOKKEEPING
    if choice is EngineChoice.BOOKKEEPING:
        raise InvalidError("book-keeping is for units of one row: `engine` must be auto or opacus here", field="engine")
    return EngineName.VMAP


def first_unproven(model: CheckedGraph) -> str | None:
    """The first node whose operation is not proven to keep rows apart, if there is one."""
    return next((node.name for node in model.graph.nodes if OPERATIONS[node.op].batch is None), None)

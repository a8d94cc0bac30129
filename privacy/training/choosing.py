"""From a plan to the engine that runs it. Child only.

Rules
-----
1. The plan names what was asked; which engine that is follows from the graph alone.
2. Each engine clips at the same bound. The choice changes speed and memory, never the price or the guarantee.
"""

from __future__ import annotations

from privacy.graph.check import CheckedGraph
from privacy.jobs.engines import EngineName, engine_for
from privacy.jobs.plan import TrainingPlan
from privacy.jobs.recipe import Clipping
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.engine import BookkeepingEngine
from privacy.training.engine import Engine
from privacy.training.vmap_engine import VmapEngine


def choose_engine(model: CheckedGraph, loss: Loss, plan: TrainingPlan) -> Engine:
    """The engine of a plan.

    Raises:
        InvalidError: The engine that is asked for does not cover this graph or these units.
    """
    per_layer = plan.recipe.clipping is Clipping.PER_LAYER
    match engine_for(plan.recipe.engine, model):
        case EngineName.BOOKKEEPING:
            return BookkeepingEngine(model, loss, per_layer, plan.rows_per_unit)
        case EngineName.VMAP:
            return VmapEngine(model, loss, per_layer)
        case EngineName.OPACUS:
            # Opacus is slow to import, and few ask for it.
            from privacy.training.opacus_engine import OpacusEngine

            return OpacusEngine(model, loss, per_layer)

"""The steps to which the inputs of quantised layers are rounded, from rows that are public. Needs numpy.

Rules
-----
1. A step is the largest number that the layer's input has on these rows, by 127: larger ones are clipped later.
2. Rows come encoded and extracted as for scoring; those that cannot be scored count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernel.errors import InvalidError
from privacy.graph.forward import values_of
from privacy.graph.quantised import LARGEST
from privgate.models import Model
from privgate.scoring import arrays_of, model_rows

_SMALLEST = 1e-30


def steps_for(model: Model, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The step of each linear node's input.

    Raises:
        InvalidError: No row can be scored.
    """
    read = model_rows(model.spec.features, model.schema, rows)
    if not len(read):
        raise InvalidError("none of these rows can be scored: each lacks a column or a value", field="calibrate")
    nodes = [node for node in model.graph.graph.nodes if node.op == "linear"]
    values = values_of(model.graph, arrays_of(model.graph, model.weights), read, {node.inputs[0] for node in nodes})
    return {node.name: max(float(np.abs(values[node.inputs[0]]).max()), _SMALLEST) / LARGEST for node in nodes}

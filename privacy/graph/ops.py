"""The operations a model may be built of, and what is true of each.

Rules
-----
1. The table is closed: an operation that is not in it does not exist.
2. Every entry states, and its tests prove, that dimension 0 is the batch and is never mixed; or it states nothing, and
   then a model that has it is run one row at a time. Either way clipping one row bounds one row.
3. An entry holds no state and changes none: nothing like a running mean can leave unnoised.
4. An entry gives shape and cost; how it is computed stands in `forward` (numpy) and `torch_ops` (torch), for each
   entry.

Form: docs/formats/model-graph.md.
"""

from __future__ import annotations

from typing import Final

from privacy.graph.operation import BATCH_RULE, Operation
from privacy.graph.ops_elements import ELEMENTS
from privacy.graph.ops_products import PRODUCTS
from privacy.graph.ops_shapes import SHAPES
from privacy.graph.ops_windows import WINDOWS

__all__ = ["BATCH_RULE", "OPERATIONS", "Operation"]

OPERATIONS: Final[dict[str, Operation]] = {
    operation.name: operation for operation in (*PRODUCTS, *WINDOWS, *SHAPES, *ELEMENTS)
}

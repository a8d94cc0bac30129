"""Bring your own model: from a torch module, a .pt2 file or an ONNX file to the `model` of a job request.

Usage:
    from privgate import modelling

    model = modelling.from_torch(network, example_rows)
    print(model.describe())
    request["model"] = model.to_request()

Rules
-----
1. A model becomes data here: operations from a closed list, and numbers. No code of it ever travels.
2. What could let one row see another is refused, with the name of the node that does it.
3. numpy, torch and onnx are imported when a function needs them, never before.

What is allowed and why: docs/MODELS.md.
"""

from __future__ import annotations

from privgate.modelling.model import Model
from privgate.modelling.reading import from_onnx, from_pt2, from_torch

__all__ = ["Model", "from_onnx", "from_pt2", "from_torch"]

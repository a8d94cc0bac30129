"""From a torch module or a model file to a `Model`.

Rules
-----
1. `torch.export.load` is never called, and no file is unpickled: it is read by `privacy.graph.pt2`.
2. A torch module is compared with its graph on rows before it is accepted, so that a misreading cannot pass.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernel.errors import InvalidError
from privgate.modelling.model import Model

if TYPE_CHECKING:
    import torch

    from privacy.graph.foreign_graph import ForeignModel

TOLERANCE = 1e-4
COMPARED_ROWS = 32


def from_torch(module: torch.nn.Module, example: torch.Tensor) -> Model:
    """Read a torch module; its parameters as they are now are what training starts from.

    Args:
        module: Maps [batch, ...] to [batch, ...]; call `.eval()` first if it has dropout.
        example: A few rows of the right shape and dtype, the batch first. They are used here only.

    Raises:
        ExtraMissingError: Without torch.
        InvalidError: Something in it is not allowed, or our graph computes something else.
        TooLargeError: It is larger than a model may be.
    """
    torch = _imported("torch", "a torch module", "train")
    from privacy.graph.pt2 import read_pt2

    if not isinstance(module, torch.nn.Module):
        raise InvalidError(
            "give a `torch.nn.Module`; of saved weights, the module that they are loaded into", field="module"
        )
    if not isinstance(example, torch.Tensor):
        raise InvalidError("give a few rows as one `torch.Tensor`, as `torch.tensor(rows)` makes it", field="example")
    if example.ndim < 1 or len(example) < 1:
        raise InvalidError("give at least one row, with the batch as dimension 0", field="example")
    # A batch of one would be taken for a constant.
    rows = torch.cat([example, example]) if len(example) == 1 else example
    stream = io.BytesIO()
    try:
        shapes = ({0: torch.export.Dim("batch", min=1)},)
        torch.export.save(torch.export.export(module, (rows,), dynamic_shapes=shapes), stream)
    except Exception as error:
        # torch fails in many ways; the cause stays visible to the caller.
        raise InvalidError(
            "torch cannot export this module with an open batch size; its own words are above", field="module"
        ) from error
    read = read_pt2(stream.getvalue())
    _compare(module, read, rows)
    return Model.of(read)


def from_pt2(path: str | Path) -> Model:
    """Read a file of `torch.export.save`, without torch; raise as `from_torch` does."""
    _imported("numpy", "a .pt2 file", "train")
    from privacy.graph.pt2 import read_pt2

    return Model.of(read_pt2(_content(path)))


def from_onnx(path: str | Path) -> Model:
    """Read an ONNX file; raise as `from_torch` does."""
    _imported("onnx", "an ONNX file", "onnx")
    from privacy.graph.from_onnx import read_onnx

    return Model.of(read_onnx(_content(path)))


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InvalidError(f"there is no file `{path}`", field="path") from None
    except (OSError, TypeError, ValueError):
        raise InvalidError("`path` must name a file that can be read", field="path") from None


def _imported(name: str, what: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError(what, extra) from None


def _compare(module: torch.nn.Module, read: ForeignModel, example: torch.Tensor) -> None:
    """Hold our graph to the module, on rows made of the example's own numbers in new combinations."""
    import numpy as np
    import torch

    from privacy.graph.check import check
    from privacy.graph.forward import forward

    flat = example.detach().reshape(len(example), -1)
    chosen = torch.randint(0, len(example), (COMPARED_ROWS, flat.shape[1]))
    rows = flat.gather(0, chosen).reshape(COMPARED_ROWS, *example.shape[1:])
    if rows.dtype == torch.float32 and all(node.op != "embedding" for node in read.graph.nodes):
        rows = rows + torch.randn(rows.shape)
    with torch.no_grad():
        expected = module(rows).reshape(COMPARED_ROWS, -1).numpy()
    found = forward(check(read.graph), read.initial, rows.numpy())
    scale = max(1.0, float(np.abs(expected).max()))
    if found.shape != expected.shape or not bool(np.abs(found - expected).max() <= TOLERANCE * scale):
        raise InvalidError("our graph computes something else than the module: please report it", field="module")

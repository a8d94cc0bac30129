"""A module of one's own becomes the `model` of a request, and its weights find their way back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kernel.errors import InvalidError
from privacy.graph.weights import unpack_initial
from privacy.jobs.model import GraphChoice, model_from_json
from privgate import modelling
from privgate.sdk.errors import ExtraMissingError


class Addmm(nn.Module):
    """Holds its matrix the other way round than graphs do."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(5, 3))
        self.offset = nn.Parameter(torch.randn(3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.offset, rows, self.matrix)


def test_the_request_is_one_that_the_gateway_reads() -> None:
    """The same graph and the same values."""
    model = modelling.from_torch(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)), torch.zeros(1, 5))
    read = model_from_json(model.to_request())
    assert isinstance(read, GraphChoice)
    assert read.own == model.graph
    assert read.initial == model.initial


def test_weights_come_back_under_their_own_names() -> None:
    """Turned as the module holds them, whatever was turned on the way."""
    module = Addmm()
    model = modelling.from_torch(module, torch.randn(3, 5))
    back = model.original(unpack_initial(model.graph, model.initial))
    assert {name: array.shape for name, array in back.items()} == {"matrix": (5, 3), "offset": (3,)}
    for name, parameter in module.named_parameters():
        assert np.array_equal(back[name], parameter.detach().numpy())
    with pytest.raises(InvalidError, match="not the weights"):
        model.original({})


def test_a_file_and_the_module_give_the_same_model(tmp_path: Path) -> None:
    """`from_pt2` reads what `from_torch` writes in memory."""
    module, rows = nn.Linear(5, 2), torch.zeros(2, 5)
    stream = io.BytesIO()
    torch.export.save(
        torch.export.export(module, (rows,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)), stream
    )
    (tmp_path / "model.pt2").write_bytes(stream.getvalue())
    assert modelling.from_pt2(tmp_path / "model.pt2") == modelling.from_torch(module, rows)


def test_a_graph_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a rule of the reader wrong, no model would come of it."""
    from privacy.graph import pt2_ops

    right = pt2_ops.RULES["torch.ops.aten.sigmoid.default"]
    monkeypatch.setitem(pt2_ops.RULES, "torch.ops.aten.tanh.default", right)
    with pytest.raises(InvalidError, match="computes something else"):
        modelling.from_torch(nn.Sequential(nn.Linear(5, 4), nn.Tanh()), torch.zeros(2, 5))


def test_what_torch_cannot_export_is_a_sentence() -> None:
    """With torch's own words as its cause."""

    class Unfit(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows if rows.sum() > 0 else -rows

    with pytest.raises(InvalidError, match="cannot export") as caught:
        modelling.from_torch(Unfit(), torch.ones(2, 5))
    assert caught.value.__cause__ is not None


def test_the_description_says_how_it_is_run() -> None:
    """Proven, or one row at a time."""
    assert "whole micro-batches" in modelling.from_torch(nn.Linear(5, 2), torch.zeros(2, 5)).describe()

    class Rolled(nn.Linear):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return super().forward(rows).roll(1, 1)

    assert "one row at a time" in modelling.from_torch(Rolled(5, 2), torch.zeros(2, 5)).describe()


def test_what_is_no_module_or_no_rows_is_a_sentence() -> None:
    """Under the name of the argument that is meant."""
    for module, rows, field in (([1, 2], torch.zeros(1, 3), "module"), (nn.Linear(3, 2), [1, 2], "example")):
        with pytest.raises(InvalidError, match="give") as refused:
            modelling.from_torch(module, rows)  # type: ignore[arg-type] - the mistakes that are meant
        assert refused.value.field == field


@pytest.mark.parametrize("read", [modelling.from_pt2, modelling.from_onnx])
def test_a_file_that_cannot_be_read_is_a_sentence(read: Any, tmp_path: Path) -> None:
    """Missing, a folder, or no path at all."""
    pytest.importorskip("onnx")
    for path in (tmp_path / "missing.pt2", tmp_path, None, "nul\0"):
        with pytest.raises(InvalidError) as refused:
            read(path)
        assert refused.value.field == "path"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_pickle_in_the_place_of_an_exported_program_is_a_sentence(tmp_path: Path) -> None:
    """Weights, a module or a script: it says how the file was written, and how to write one that can be read."""
    network = nn.Linear(3, 2)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    torch.save(network, tmp_path / "module.pt2")
    torch.jit.trace(network, torch.zeros(1, 3)).save(str(tmp_path / "script.pt"))
    for name in ("weights.pt", "module.pt2", "script.pt"):
        with pytest.raises(InvalidError, match=r"torch\.export\.save.*from_torch"):
            modelling.from_pt2(tmp_path / name)


def test_a_model_is_shown_in_one_short_line() -> None:
    """Not with its whole graph and every value."""
    model = modelling.from_torch(nn.Linear(50, 40), torch.zeros(2, 50))
    assert repr(model) == f"Model(input [50], 2040 parameters, graph {model.graph.digest.hex[:16]}...)"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a traceback from an import."""
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ExtraMissingError, match="onnx"):
        modelling.from_onnx("model.onnx")

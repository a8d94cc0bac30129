"""How a model gets into a request: by name, as a graph, from a file, from what can write itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import InvalidError
from privacy.jobs.model import GraphChoice, model_from_json
from privgate.cli.quotes import written_request
from privgate.sdk.jobs import Quote
from privgate.sdk.requests import training_request
from tests.support import graphs

WANTED: dict[str, Any] = {"purpose": "research", "epsilon": 1, "label": "kind"}


class Written:
    """What `privgate.modelling` gives."""

    def to_request(self) -> Mapping[str, Any]:
        """A graph."""
        return {"graph": graphs.small_network()}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("softmax", {"template": "softmax"}),
        ({"template": "mlp", "hidden": [3]}, {"template": "mlp", "hidden": [3]}),
        (graphs.small_network(), {"graph": graphs.small_network()}),
        ({"graph": graphs.rolled()}, {"graph": graphs.rolled()}),
        (Written(), {"graph": graphs.small_network()}),
    ],
    ids=["name", "template", "bare graph", "graph", "written"],
)
def test_a_model_is_written_as_requests_have_it(model: Any, expected: dict[str, Any]) -> None:
    """Whatever form it has where it comes from."""
    assert training_request("dst_x", model=model, **WANTED)["model"] == expected


def test_what_is_no_model_is_refused_here() -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidError) as refused:
        training_request("dst_x", model=7, **WANTED)  # type: ignore[arg-type] - the mistake that is meant
    assert refused.value.field == "model"


@pytest.mark.parametrize(
    ("name", "told"),
    [("net.pt", "torch.export.save"), ("a/net.pth", "from_torch"), ("net.pt2", "from_pt2"), ("net.ONNX", "from_onnx")],
)
def test_a_file_is_not_taken_for_a_template(name: str, told: str) -> None:
    """The sentence says how to read it, or what to write in its place."""
    with pytest.raises(InvalidError, match=told) as refused:
        training_request("dst_x", model=name, **WANTED)
    assert refused.value.field == "model"


@pytest.mark.parametrize("name", ["net.pt", "net.pth"])
def test_the_command_line_says_what_to_do_with_a_pickle(name: str, tmp_path: Path) -> None:
    """Whether it is there or not, it is not read."""
    with pytest.raises(InvalidError, match=r"torch\.export\.save"):
        _from_file(tmp_path / name)


def _from_file(path: Path) -> Any:
    return written_request(None, "dst_x", "research", "1", label="kind", model=str(path), recipe=None, release=None)[
        "model"
    ]


def test_the_command_line_reads_a_graph_from_a_file(tmp_path: Path) -> None:
    """A bare graph, or a model with its given values; numbers with a fraction stay the text that they are."""
    bare, whole = tmp_path / "graph.json", tmp_path / "model.json"
    bare.write_text(json.dumps(graphs.small_network()))
    given = {"graph": graphs.small_network(rule="given"), "initial": graphs.initial({"said.b": [1, 2, 3]})}
    whole.write_text(json.dumps(given))
    assert _from_file(bare) == {"graph": graphs.small_network()}
    read = model_from_json(_from_file(whole))
    assert isinstance(read, GraphChoice)
    assert read.to_json() == given


def test_the_command_line_reads_an_exported_module(tmp_path: Path) -> None:
    """A `.pt2` file becomes a graph with the values that it holds."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(36, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    path = tmp_path / "network.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(2, 36),), dynamic_shapes=shapes), path)
    read = model_from_json(_from_file(path))
    assert isinstance(read, GraphChoice)
    assert [node.op for node in read.own.nodes] == ["linear", "relu", "linear"]


SAID = {"unit": "patient", "odds": 66, "budget_odds": 95, "feasibility": "doubtful", "steps": 160}


def test_a_quote_says_size_and_engine_in_words() -> None:
    """Beside the most that is allowed."""
    size = {"parameters": 7, "activations_per_row": 8, "multiply_adds_per_row": 9, "nodes": 2}
    model = {"graph": "sha256:" + "a" * 64, "size": size, "engine": "vmap", "clipping": "adaptive"}
    members = dict.fromkeys(
        ("epsilon", "delta", "order", "noise_multiplier", "block", "charge", "hold", "capacity", "available"), "1"
    )
    answer = {
        "quote": members | {"budget_share": "0.1", "fits": True, "further": 3, "model": model} | SAID,
        "spec": {},
        "request_digest": "sha256:" + "b" * 64,
    }
    told = dict(Quote.read(answer, gateway=None).lines())
    assert told["model graph"] == model["graph"]
    assert told["parameters"] == "7 of at most 1000000"
    assert told["engine, clipping"] == "vmap, adaptive"
    assert "a given patient was in the data at most 66 times in 100; 50 is a coin" in str(told["in odds"])
    assert str(told["once the budget is spent"]).startswith("at most 95 times in 100, from all jobs together, whatever")
    assert str(told["will it succeed"]).startswith("doubtful")
    assert str(told["noise, steps"]).endswith("in each of 160 steps")

"""Public extractors: what may be said of them, and what applying them may never do."""

from __future__ import annotations

import base64
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError, PrivgateError
from kernel.events import Parameter
from privacy.graph.spec import Initial, InitialRule, Input, ModelGraph, Node, Weight
from privacy.graph.weights import NamedArrays
from privacy.jobs.extractors import FrozenGraph, Norm, Scattering, check_inputs, extractor_from_json
from privacy.jobs.features import FeatureSpec, default_features
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.training import extract
from privacy.training.extract import Extraction

SCATTERING = Scattering(image=(8, 8), scales=1, angles=2, groups=1)
_GIVEN = Initial(rule=InitialRule.GIVEN)


def encoder(rule: Initial = _GIVEN) -> ModelGraph:
    """Four numbers to three, with a bias, so that a row of zeros would not give zeros."""
    weights = (Weight(name="w", shape=(3, 4), init=rule), Weight(name="b", shape=(3,), init=rule))
    nodes = (
        Node(name="line", op="linear", inputs=("x",), weights=("w", "b")),
        Node(name="bent", op="relu", inputs=("line",)),
    )
    return ModelGraph(inputs=(Input(name="x", shape=(4,)),), weights=weights, nodes=nodes, outputs=("bent",))


def values(**changed: Any) -> bytes:
    """Good weights of the encoder, or changed ones."""
    arrays = {"w": np.arange(12, dtype=np.float32).reshape(3, 4) / 10, "b": np.ones(3, dtype=np.float32)}
    return NamedArrays(arrays=arrays | changed).to_bytes()


def frozen() -> FrozenGraph:
    """A good one."""
    return FrozenGraph(graph=encoder(), weights=values())


# --- As values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extractor", [SCATTERING, Scattering(image=(3, 8, 8), norm=Norm.NONE, groups=None), frozen()])
def test_json_comes_back(extractor: Scattering | FrozenGraph) -> None:
    """One value has one JSON."""
    assert extractor_from_json(extractor.to_json()) == extractor


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "pca"},
        {"kind": None},
        {"image": [8]},
        {"image": [8, 8, 8, 8]},
        {"image": "88"},
        {"image": [8.0, 8]},
        {"image": [3, 8]},
        {"image": [129, 8]},
        {"image": [5, 8, 8]},
        {"image": [True, 8, 8]},
        {"scales": 0},
        {"scales": 3},
        {"scales": True},
        {"scales": "1"},
        {"angles": 17},
        {"order": 3},
        {"norm": "batch"},
        {"norm": "none"},
        {"groups": 2},
        {"groups": 0},
        {"groups": None},
        {"more": 1},
    ],
)
def test_a_scattering_that_is_not_exactly_one_is_refused(change: dict[str, Any]) -> None:
    """Unknown members, sides outside the limits and groups that divide nothing name their field."""
    with pytest.raises(InvalidError):
        extractor_from_json(SCATTERING.to_json() | change)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ((28,), "height and width"),
        ((5, 28, 28), "channels, from 1 to 4"),
        ((4, 28), "between 8 and 128"),
        ((28, True), "whole"),
    ],
    ids=str,
)
def test_the_sentence_about_an_image_says_which_number_is_wrong(image: tuple[int, ...], told: str) -> None:
    """Its bounds follow from the scales."""
    with pytest.raises(InvalidError, match=told) as refused:
        Scattering(image=image)
    assert refused.value.field == "image"


@pytest.mark.parametrize("body", [None, [], "scattering", {}, {"kind": ["scattering"]}, {"kind": "graph"}])
def test_what_is_no_extractor_is_refused(body: Any) -> None:
    """The reader never guesses."""
    with pytest.raises(InvalidError):
        extractor_from_json(body)


def test_work_and_width_are_bounded() -> None:
    """A request cannot ask for more than a row may cost or become."""
    with pytest.raises(PrivgateError, match="too many numbers"):
        Scattering(image=(4, 128, 128), scales=4, angles=16)
    with pytest.raises(PrivgateError, match="too many numbers"):
        Scattering(image=(128, 128), scales=1, angles=16, order=1)


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        (values(w=np.full((3, 4), np.nan, np.float32)), "`w`.*not finite"),
        (values(w=np.full((3, 4), -np.inf, np.float32)), "`w`.*not finite"),
        (values(w=np.zeros((4, 3), np.float32)), "`w`.*shape"),
        (values(b=np.zeros(3)), "`b`.*float32"),
        (values(c=np.zeros(3, np.float32)), "exactly those"),
        (NamedArrays(arrays={"w": np.zeros((3, 4), np.float32)}).to_bytes(), "exactly those"),
        (values()[:-1], "end early"),
        (values() + b"\0", "nothing names"),
        (b"", "safetensors"),
        (b"\xff" * 64, "safetensors"),
        ((2).to_bytes(8, "little") + b"[]", "object"),
        ((16).to_bytes(8, "little") + b'{"w":1.5,"w":[]}', "strict JSON"),
    ],
)
def test_given_weights_are_exactly_what_the_graph_names(weights: bytes, named: str) -> None:
    """Names, shapes, dtype, finiteness and extent, each refused in words that name the weight."""
    with pytest.raises(InvalidError, match=named):
        FrozenGraph(graph=encoder(), weights=weights)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 13]},
        {"dtype": "F32", "shape": [3], "data_offsets": [12, 0]},
        {"dtype": "F32", "shape": [3], "data_offsets": [-12, 0]},
        {"dtype": "F32", "shape": [3], "data_offsets": ["0", 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0]},
        {"dtype": "F32", "shape": ["3"], "data_offsets": [0, 12]},
        {"dtype": ["F32"], "shape": [3], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 12], "x": 1},
        [],
    ],
)
def test_hostile_headers_are_refused_as_values(entry: Any) -> None:
    """A crafted header ends in a refusal, never in another error."""
    from kernel import canonical
    from privacy.jobs.given import check_given

    header = canonical.encode({"b": entry})
    with pytest.raises(InvalidError):
        check_given({"b": (3,)}, len(header).to_bytes(8, "little") + header + bytes(12))


def test_a_graph_that_would_still_learn_is_refused() -> None:
    """Every weight of an extractor is given."""
    with pytest.raises(InvalidError, match="given"):
        FrozenGraph(graph=encoder(Initial(rule=InitialRule.ZEROS)), weights=values())


@pytest.mark.parametrize("weights", ["not base64", 3, None, base64.b64encode(values()).decode() + "\n", "YQ=", "YR=="])
def test_weights_in_another_writing_are_refused(weights: Any) -> None:
    """One value has one digest."""
    with pytest.raises(InvalidError):
        extractor_from_json(frozen().to_json() | {"weights": weights})


def test_the_digest_of_a_spec_binds_every_weight() -> None:
    """Another weight is another spec."""
    column = Column(name="x", kind=ColumnKind.TENSOR, low=Parameter(0), high=Parameter(1), shape=(4,))
    schema = TableSchema(columns=(column, Column(name="y", kind=ColumnKind.BOOLEAN)))
    plain = default_features(schema, "y")
    specs = [
        FeatureSpec(columns=plain.columns, label=plain.label, extractor=extractor)
        for extractor in (None, frozen(), FrozenGraph(graph=encoder(), weights=values(b=np.zeros(3, np.float32))))
    ]
    assert len({spec.digest for spec in specs}) == 3
    assert [spec.width(schema) for spec in specs] == [4, 3, 3]
    assert all(FeatureSpec.from_json(spec.to_json()) == spec for spec in specs)


def test_the_columns_must_give_what_the_extractor_reads() -> None:
    """The message says both numbers, which are public."""
    with pytest.raises(InvalidError, match="reads 64 numbers, but the columns give 60"):
        check_inputs(SCATTERING, 60)


def test_the_values_need_no_numerics_library() -> None:
    """A gateway's API process reads requests with extractors in them."""
    program = "import sys, privacy.jobs.extractors; sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- Applied ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extractor", [SCATTERING, frozen()])
def test_dead_rows_stay_dead_and_disturb_nobody(extractor: Scattering | FrozenGraph) -> None:
    """A dead row is zeros even where the extractor would make something of zeros; so is one that overflows."""
    rows = np.random.default_rng(1).uniform(-1, 1, (9, extractor.inputs)).astype(np.float32)
    whole, everybody = Extraction(extractor).apply(rows, np.ones(9, dtype=np.bool_))
    assert everybody.all()
    alive = np.ones(9, dtype=np.bool_)
    alive[[2, 5]] = False
    rows[5] = 0
    rows[7] = 3e38
    found, left = Extraction(extractor).apply(rows, alive)
    assert left.tolist() == [True, True, False, True, True, False, True, False, True]
    assert not found[~left].any()
    assert found[left].tobytes() == whole[left].tobytes()
    assert (found.dtype, found.shape) == (np.float32, (9, extractor.width))


@pytest.mark.parametrize("extractor", [SCATTERING, frozen()])
def test_blocks_change_no_bit(extractor: Scattering | FrozenGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by blocks, and their size is nobody's business."""
    rows = np.random.default_rng(2).uniform(-1, 1, (23, extractor.inputs)).astype(np.float32)
    alive = np.ones(23, dtype=np.bool_)
    large, _ = Extraction(extractor).apply(rows, alive)
    monkeypatch.setattr(extract, "_BYTES_AT_ONCE", 8 * 11 * 5)
    small, _ = Extraction(extractor).apply(rows, alive)
    assert small.tobytes() == large.tobytes()


def test_a_frozen_graph_gives_what_its_weights_say() -> None:
    """Against the sum by hand."""
    rows = np.asarray([[1, -1, 0.5, 0]], dtype=np.float32)
    found, _ = Extraction(frozen()).apply(rows, np.ones(1, dtype=np.bool_))
    by_hand = [max(0.0, 1 + sum(a * (4 * i + k) / 10 for k, a in enumerate(rows[0].tolist()))) for i in range(3)]
    assert np.allclose(found[0], by_hand, atol=1e-6)


def test_no_rows_give_no_rows() -> None:
    """An empty part is no special case."""
    found, alive = Extraction(SCATTERING).apply(np.zeros((0, 64), np.float32), np.zeros(0, np.bool_))
    assert (found.shape, alive.shape) == ((0, SCATTERING.width), (0,))

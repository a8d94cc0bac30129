"""Models in requests: a trainer's own graph and its given values, templates by the schema, engines, sizes, clipping."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError, PrivgateError, TooLargeError
from privacy.graph.check import CheckedGraph
from privacy.graph.templates import ModelChoice
from privacy.graph.weights import NamedArrays
from privacy.jobs.assignment import TrainingAssignment
from privacy.jobs.engines import EngineName
from privacy.jobs.model import GraphChoice
from privacy.jobs.plan import MOST_UNITS_AT_ONCE, TrainingPlan, performance_of, plan_training
from privacy.jobs.size import NUMBERS_AT_ONCE, ModelSize, numbers_per_unit
from privacy.jobs.spec import Loss, TrainingSpec
from tests.support import graphs, jobs

SEVERAL = {"label": "kind"}
GIVEN = {"said.b": [0.5, 0.0, -0.5]}


def _spec(model: Any = None, declared: Any = None, **changes: Any) -> TrainingSpec:
    return jobs.spec(declared, graphs.PICTURES, **(SEVERAL | {"model": model} | changes))


def _plan(model: Any = None, declared: Any = None, **changes: Any) -> tuple[TrainingPlan, CheckedGraph]:
    declared = declared or jobs.facts()
    wanted = _spec(model, declared, **changes)
    return plan_training(wanted, graphs.PICTURES, declared), wanted.model_graph(graphs.PICTURES)


def _given(**changes: Any) -> dict[str, Any]:
    return {"graph": graphs.small_network(rule="given"), "initial": graphs.initial(GIVEN)} | changes


def test_several_classes_get_a_score_each_and_the_loss_for_them() -> None:
    """Who names a column of three categories gets three outputs, softmax, and no choice of another loss."""
    wanted = _spec()
    assert isinstance(wanted.model, ModelChoice)
    assert (wanted.model.template, wanted.loss, wanted.model_graph(graphs.PICTURES).outputs) == (
        "softmax",
        Loss.SOFTMAX,
        3,
    )
    for loss in ("logistic", "squared"):
        with pytest.raises(InvalidError, match="loss"):
            _spec(loss=loss)
    for template in ("linear", "logistic"):
        with pytest.raises(InvalidError, match="template"):
            _spec({"template": template})


def test_a_template_learns_its_shapes_from_the_schema_and_keeps_what_was_written() -> None:
    """The picture's shape, the sentence's length and vocabulary; a trainer's own number is never replaced."""
    schema = graphs.PICTURES.to_json()
    schema["columns"][0]["shape"] = [28, 28]
    large = type(graphs.PICTURES).from_json(schema)
    network = jobs.spec(None, large, label="kind", model={"template": "cnn"}).model
    assert network.to_json()["image"] == [1, 28, 28]
    features = {
        "v": 1,
        "columns": [{"column": "words", "transform": "tokens"}],
        "label": {"column": "tone", "encoding": "classes"},
    }
    small = {"template": "transformer", "dim": 8, "heads": 2, "layers": 1}
    told = jobs.spec(None, graphs.SENTENCES, label=None, features=features, model=small).model.to_json()
    assert (told["length"], told["vocabulary"]) == (8, 50)
    told = jobs.spec(None, graphs.SENTENCES, label=None, features=features, model=small | {"vocabulary": 99}).model
    assert told.to_json()["vocabulary"] == 99


def test_an_own_graph_has_one_form_and_every_byte_of_it_is_bound() -> None:
    """What is written is read back, and a changed graph, number or encoding is another request or none."""
    wanted = _spec(_given())
    assert isinstance(wanted.model, GraphChoice)
    assert TrainingSpec.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted
    other = graphs.small_network(rule="given")
    other["nodes"][1]["op"] = "tanh"
    moved = graphs.initial(GIVEN | {"said.b": [0.5, 0.0, -0.50001]})
    digests = {_spec(model).digest for model in (_given(), _given(graph=other), _given(initial=moved))}
    assert len(digests) == 3
    for loose in (graphs.initial(GIVEN) + "=", graphs.initial(GIVEN) + "\n"):
        with pytest.raises(InvalidError, match="base64"):
            _spec(_given(initial=loose))


def _broken_graphs() -> dict[str, tuple[dict[str, Any], str, type[PrivgateError]]]:
    unknown = graphs.small_network()
    unknown["nodes"][1] |= {"op": "batch_norm"}
    wide_layer = [graphs.weight("w", 30_000, 36), graphs.weight("v", 3, 30_000)]
    chain = [graphs.node("a", "linear", ["x"], ["w"]), graphs.node("b", "linear", ["a"], ["v"])]
    large = graphs.graph([36], wide_layer, chain, "b")
    wide = graphs.graph([37], [graphs.weight("w", 3, 37)], [graphs.node("a", "linear", ["x"], ["w"])], "a")
    twice = [graphs.node("a", "linear", ["x"], ["w"]), graphs.node("b", "linear", ["a"], ["w"])]
    tied = graphs.graph([36], [graphs.weight("w", 36, 36)], twice, "b")
    return {
        "an unknown operation": (unknown, "bent", InvalidError),
        "too many weights": (large, "weights", TooLargeError),
        "another number of outputs": (graphs.small_network(2), "said", InvalidError),
        "another width": (wide, "input `x`", InvalidError),
        "a tied weight": (tied, "", InvalidError),
        "an unknown member": (graphs.small_network() | {"code": "import os"}, "graph", InvalidError),
    }


@pytest.mark.parametrize("name", _broken_graphs())
def test_a_graph_that_does_not_fit_is_refused_by_the_node_or_the_field(name: str) -> None:
    """The sentence names what to change."""
    broken, named, kind = _broken_graphs()[name]
    with pytest.raises(kind) as refused:
        _spec({"graph": broken})
    assert named in f"{refused.value.message} {refused.value.field}"


def _packed(arrays: dict[str, Any], **texts: str) -> str:
    written = NamedArrays(arrays={n: np.asarray(a) for n, a in arrays.items()}, texts=texts).to_bytes()
    return base64.b64encode(written).decode("ascii")


FAULTY: dict[str, Any] = {
    "not a number": _packed({"said.b": np.array([0.0, np.nan, 0.0], np.float32)}),
    "infinite": _packed({"said.b": np.array([0.0, np.inf, 0.0], np.float32)}),
    "another shape": _packed({"said.b": np.zeros(4, np.float32)}),
    "another kind": _packed({"said.b": np.zeros(3, np.float64)}),
    "one too many": _packed({"said.b": np.zeros(3, np.float32), "more": np.zeros(1, np.float32)}),
    "none": _packed({}),
    "of another graph": _packed({"said.b": np.zeros(3, np.float32)}, graph="sha256:" + "0" * 64),
    "not base64": "%%%",
    "not text": 7,
}


@pytest.mark.parametrize("name", FAULTY)
def test_given_values_that_are_not_exactly_the_given_weights_are_refused(name: str) -> None:
    """Before anything is priced; no number is repeated."""
    with pytest.raises(InvalidError) as refused:
        _spec(_given(initial=FAULTY[name]))
    assert refused.value.field in ("weights", "initial")
    assert "nan" not in refused.value.message


def test_values_are_given_exactly_where_a_weight_waits_for_them() -> None:
    """Neither too few nor too many."""
    with pytest.raises(InvalidError, match="initial"):
        _spec({"graph": graphs.small_network(rule="given")})
    with pytest.raises(InvalidError, match="initial"):
        _spec({"graph": graphs.small_network(), "initial": graphs.initial(GIVEN)})


def test_a_plan_names_the_engine_and_the_size() -> None:
    """Proven graphs are book-kept, however many rows a unit has; with an unproven node rows run alone."""
    plan, model = _plan({"graph": graphs.small_network()})
    assert plan.engine is EngineName.BOOKKEEPING
    assert plan.size == ModelSize.of(model)
    assert (plan.size.parameters, plan.size.nodes) == (4 * 9 + 4 + 128 + 3 * 64 + 3, 5)
    assert _plan({"graph": graphs.rolled()})[0].engine is EngineName.VMAP
    several = jobs.facts(rows_per_unit=3)
    assert _plan({"graph": graphs.small_network()}, several)[0].engine is EngineName.BOOKKEEPING
    asked = {"recipe": {"engine": "opacus"}}
    assert _plan({"graph": graphs.small_network()}, **asked)[0].engine is EngineName.OPACUS


@pytest.mark.parametrize("engine", ["bookkeeping", "opacus"])
def test_an_engine_that_cannot_do_it_is_refused_by_the_nodes_name(engine: str) -> None:
    """When the job is requested, not in a child."""
    with pytest.raises(InvalidError, match="turned") as refused:
        _plan({"graph": graphs.rolled()}, recipe={"engine": engine})
    assert refused.value.field == "engine"


def test_no_choice_of_engine_or_clipping_changes_the_price() -> None:
    """The mechanism uses are the same, and so is the noise that is calibrated."""
    declared = jobs.facts(public_size=60_000)
    choices = [{"clipping": c, "engine": e} for c in ("flat", "per-layer", "adaptive") for e in ("auto", "opacus")]
    plans = [_plan({"graph": graphs.small_network()}, declared, recipe=choice)[0] for choice in choices]
    assert len({(plan.noise_multiplier, plan.uses(), plan.holds()) for plan in plans}) == 1
    assert len({plan.digest for plan in plans}) == len(plans)


def test_adaptive_clipping_pays_for_its_count_out_of_the_same_noise() -> None:
    """z^-2 = g^-2 + (2 s)^-2: sum and count are one Gaussian of multiplier z, at most 4 % more noisy."""
    plan, _ = _plan(declared=jobs.facts(public_size=60_000), recipe={"clipping": "adaptive"})
    z, g, s = plan.noise_multiplier.number, plan.gradient_noise, plan.count_noise
    assert s == max(plan.normaliser.number / 20, 2 * z)
    assert g >= z
    assert abs(1 / z**2 - 1 / g**2 - 1 / (2 * s) ** 2) < Decimal("1e-20")
    assert 1 / g**2 + 1 / (2 * s) ** 2 <= 1 / z**2
    flat, _ = _plan(declared=jobs.facts(public_size=60_000))
    assert flat.gradient_noise == flat.noise_multiplier.number
    few, _ = _plan(declared=jobs.facts(public_size=60), recipe={"clipping": "adaptive"})
    assert few.noise_multiplier.number < few.gradient_noise < few.noise_multiplier.number * Decimal("1.04")


def test_a_micro_batch_fits_into_memory_and_the_batch_is_free() -> None:
    """However many are expected: more micro-batches, not larger ones; and a step holds everybody who usually comes."""
    for size in (600, 60_000, 6_000_000):
        plan, model = _plan({"graph": graphs.small_network()}, jobs.facts(public_size=size), recipe={"steps": 5})
        cut = performance_of(plan, model)
        per_unit = numbers_per_unit(plan.engine, plan.rows_per_unit, model)
        assert cut.units_at_once == 1 or cut.units_at_once * per_unit <= NUMBERS_AT_ONCE
        assert cut.units_at_once <= MOST_UNITS_AT_ONCE
        assert cut.units_at_once * cut.least_micro_batches >= plan.normaliser.number


def _assignment(**changes: Any) -> TrainingAssignment:
    none = jobs.Sealed(key=jobs.new_dek(jobs.os.urandom), parts=())
    return jobs.training(none, schema=graphs.PICTURES, **(SEVERAL | {"model": _given()} | changes))


def test_an_assignment_carries_the_given_values_and_holds_the_plan_to_its_graph() -> None:
    """They arrive byte for byte; a plan of another size or engine, or values that do not fit, make no assignment."""
    made = _assignment()
    read = TrainingAssignment.from_bytes(made.to_bytes())
    assert read == made
    assert read.initial is not None
    assert NamedArrays.from_bytes(read.initial).arrays["said.b"].tolist() == GIVEN["said.b"]
    larger = dataclasses.replace(made.plan.size, parameters=1)
    for wrong in (
        {"plan": dataclasses.replace(made.plan, size=larger)},
        {"plan": dataclasses.replace(made.plan, engine=EngineName.VMAP)},
        {"initial": None},
        {"initial": made.initial[:-1]},
    ):
        with pytest.raises(InvalidError):
            dataclasses.replace(made, **wrong)
    body = copy.deepcopy(made.to_json())
    assert body["plan"]["engine"] == "bookkeeping"

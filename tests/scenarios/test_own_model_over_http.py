"""A trainer brings a graph of its own, through real processes: quoted, approved, trained, released, evaluated, used.

The gateway and its worker are processes of their own, spoken to by the SDK over TLS; jobs run in confined children.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import privgate
from kernel.canonical import Digest
from privacy.jobs.model import GraphChoice, model_from_json
from privgate import modelling
from privgate.client.errors import ConflictError, InvalidRequestError
from privgate.modelling import Model
from privgate.sdk.gateway import Gateway
from privgate.sdk.jobs import Job
from privgate.sdk.releases import VerifiedRelease
from tests.support import graphs
from tests.support.processes import Home

PURPOSE = "research"
WANTED: dict[str, Any] = {"purpose": PURPOSE, "label": "kind", "epsilon": "4"}
RECIPE = {"steps": 30, "expected_batch": 400, "learning_rate": "2"}
GIVEN = {"graph": graphs.small_network(rule="given"), "initial": graphs.initial({"said.b": [0.0, 0.0, 0.0]})}


@dataclass(frozen=True)
class People:
    """Three who are signed in, and what they work on."""

    owner: Gateway
    trainer: Gateway
    checker: Gateway
    dataset: str
    population: str


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A running gateway with sealed pictures; every training waits for its owner."""
    home = Home(tmp_path_factory.mktemp("own-model"), {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    with ExitStack() as stack:
        stack.enter_context(home.api())
        stack.enter_context(home.worker())
        yield _prepared(home, stack)


def _prepared(home: Home, stack: ExitStack) -> People:
    port = home.port_file.read_text().strip()
    authority = str(home.path / "tls" / "ca.pem")

    def connect(token: str, trust: Any = None) -> Gateway:
        made = privgate.connect(url=f"https://localhost:{port}", token=token, authority=authority, trust=trust)
        stack.callback(made.close)
        return made

    admin = connect(home.token)
    admin.define_purpose(PURPOSE)
    trust = home.folder / "trust.json"
    trust.write_bytes(admin.trust().to_bytes())
    signed_in = {}
    for role in ("owner", "trainer", "checker"):
        enrolled = admin.enrol(role)
        admin.assign_role(enrolled.principal, role)
        signed_in[role] = connect(enrolled.token, trust)
    owner, trainer = signed_in["owner"], signed_in["trainer"]
    population = owner.create_population(
        unit_kind="record", unit_noun="picture", unit_domain="pictures", public_size=2000, epsilon="20",
        delta="0.000001",
    )  # fmt: skip
    dataset = owner.register_dataset(
        title="Pictures", population=population, schema=graphs.PICTURES, unit={"kind": "record", "noun": "picture"},
        sensitivity="confidential", purposes=[PURPOSE], legal_basis="gdpr-6-1-e-public-task",
        retention_until="2099-01-01",
    )  # fmt: skip
    rows = home.folder / "pictures.jsonl"
    rows.write_bytes(graphs.lines(graphs.pictures(2000)))
    owner.upload(dataset, rows)
    owner.grant(
        principal=trainer.whoami().principal, dataset=dataset, purpose=PURPOSE, until="2099-01-01",
        approval_required=True,
    )  # fmt: skip
    return People(owner, trainer, signed_in["checker"], dataset.dataset, population.population)


def _released(of: People, job: Job) -> VerifiedRelease:
    """Approve what was looked at, wait, let it go, and fetch it."""
    assert job.state == "awaiting-approval"
    of.owner.approve(job.job)
    release = job.wait().result()
    of.checker.check_release(release, "release")
    for _ in range(600):
        try:
            return of.trainer.releases[release.release].fetch()
        except ConflictError:
            time.sleep(0.1)
    raise AssertionError("the release was never published")


@pytest.fixture(scope="module")
def trained(people: People) -> VerifiedRelease:
    """A model from an own graph with given values."""
    return _released(people, people.trainer.train(people.dataset, model=GIVEN, recipe=RECIPE, **WANTED))


def test_the_quote_shows_size_engine_and_clipping_before_anybody_decides(people: People) -> None:
    """Parameters, activations, multiply-adds and nodes stand beside their limits; so does the graph's digest."""
    quoted = people.trainer.quote(people.dataset, model=GIVEN, recipe=RECIPE, **WANTED)
    assert quoted.model is not None
    assert quoted.model["size"]["parameters"] == 4 * 9 + 4 + 128 + 3 * 64 + 3
    assert quoted.model["size"]["nodes"] == 5
    assert (quoted.model["engine"], quoted.model["clipping"]) == ("bookkeeping", "flat")
    told = dict(quoted.lines())
    assert told["model graph"] == quoted.model["graph"]
    assert "of at most" in str(told["parameters"])


def test_the_owner_sees_the_graph_and_its_digest_and_approves_no_other(people: People) -> None:
    """A forged digest of request or graph is refused, and the job waits on."""
    job = people.trainer.train(people.dataset, model=GIVEN, recipe=RECIPE, **WANTED)
    seen = people.owner.jobs[job.job]
    assert seen.request is not None
    assert seen.model is not None
    shown = model_from_json(seen.request["model"])
    assert isinstance(shown, GraphChoice)
    assert str(shown.own.digest) == seen.model["graph"]
    forged = str(Digest.of(b"another graph"))
    path, post = f"/v1/jobs/{job.job}/approval", people.owner.connection.post
    honest = {"verdict": "approved", "request_digest": seen.request_digest, "graph": seen.model["graph"]}
    for wrong in ({"graph": forged}, {"request_digest": forged}):
        with pytest.raises(InvalidRequestError) as refused:
            post(path, honest | wrong)
        assert refused.value.field == next(iter(wrong))
        assert people.owner.jobs[job.job].state == "awaiting-approval"
    people.owner.disapprove(job.job)
    assert people.owner.jobs[job.job].state == "refused"


def test_an_own_graph_is_trained_released_and_predicts(trained: VerifiedRelease) -> None:
    """Its certificate names the graph and no template; on fresh pictures it tells the classes by name."""
    predicate = trained.certificate.predicate
    assert predicate.model.template is None
    assert (str(predicate.engine.name), str(predicate.engine.clipping)) == ("bookkeeping", "flat")
    assert predicate.self_test.ran
    model = trained.scorer()
    assert model.graph.graph.digest == predicate.model.graph
    fresh = graphs.pictures(150, seed=99)
    predicted = model.predict(fresh)
    assert sum(p == row["kind"] for p, row in zip(predicted, fresh, strict=True)) > 120
    chances = model.probabilities(fresh[:3])
    assert all(set(of) == {"top", "middle", "bottom"} and abs(sum(of.values()) - 1) < 1e-9 for of in chances)
    assert model.predict([{"picture": [1, 2, 3]}]) == [None]
    assert model.evaluate(fresh)["accuracy"] > 0.8


def test_a_model_of_several_classes_is_evaluated_on_the_holdout(people: People, trained: VerifiedRelease) -> None:
    """Right and wrong by confidence, with noise; the accuracy is about what the trainer sees on fresh pictures."""
    job = people.trainer.evaluate(trained.release, purpose=PURPOSE, epsilon="4", confusion=True)
    told = _released(people, job).evaluation()
    confusion, scores = (one["numbers"] for one in told["measured"])
    assert (len(confusion), len(scores)) == (9, 16)
    assert float(told["accuracy"]["value"]) > 0.7
    assert [one["class"] for one in told["by_class"]] == told["classes"] == ["top", "middle", "bottom"]
    assert "confidence_auc" in told or sum(scores[:8]) < 2


def test_a_graph_that_only_works_row_by_row_is_trained_as_well(people: People) -> None:
    """One `roll`, and the engine is vmap, in the quote and in the certificate."""
    choice = {"model": graphs.rolled(), "recipe": RECIPE | {"steps": 15}}
    assert (people.trainer.quote(people.dataset, **WANTED, **choice).model or {})["engine"] == "vmap"
    fetched = _released(people, people.trainer.train(people.dataset, **WANTED, **choice))
    assert str(fetched.certificate.predicate.engine.name) == "vmap"
    fresh = graphs.pictures(60, seed=7)
    assert fetched.scorer().evaluate(fresh)["accuracy"] > 0.6


def _from_onnx(path: Path) -> Model:
    """A perceptron as an exporter writes one, with its numbers."""
    draw = np.random.default_rng(2)
    arrays = {
        "first": draw.normal(0, 0.2, (16, 36)), "lift": np.zeros(16),
        "last": draw.normal(0, 0.2, (3, 16)), "level": np.zeros(3),
    }  # fmt: skip
    onnx_graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "first", "lift"], ["hidden"], transB=1),
            helper.make_node("Relu", ["hidden"], ["bent"]),
            helper.make_node("Gemm", ["bent", "last", "level"], ["y"], transB=1),
        ],
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 36])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()],
    )
    made = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(made.SerializeToString())
    return modelling.from_onnx(path)


def test_a_model_from_onnx_is_trained_layer_by_layer(people: People, tmp_path: Path) -> None:
    """From a file to a release, each layer clipped by itself, from the file's own numbers on."""
    choice = {"model": _from_onnx(tmp_path / "model.onnx"), "recipe": RECIPE | {"clipping": "per-layer"}}
    fetched = _released(people, people.trainer.train(people.dataset, **WANTED, **choice))
    engine = fetched.certificate.predicate.engine
    assert (str(engine.name), str(engine.clipping)) == ("bookkeeping", "per-layer")
    assert fetched.scorer().evaluate(graphs.pictures(150, seed=8))["accuracy"] > 0.6


def _broken() -> dict[str, tuple[Any, str]]:
    unknown, wide = graphs.small_network(), graphs.small_network()
    unknown["nodes"][1]["op"] = "batch_norm"
    wide["weights"][4] = graphs.weight("said.w", 3, 63)
    large = graphs.graph(
        [36],
        [graphs.weight("a.w", 30_000, 36), graphs.weight("b.w", 3, 30_000)],
        [graphs.node("a", "linear", ["x"], ["a.w"]), graphs.node("b", "linear", ["a"], ["b.w"])],
        "b",
    )
    lost = graphs.initial({"said.b": [0.0, float("nan"), 0.0]})
    return {
        "unknown operation": ({"graph": unknown}, "bent"),
        "too many weights": ({"graph": large}, "weights"),
        "wrong output": ({"graph": graphs.small_network(2)}, "said"),
        "wrong weight": ({"graph": wide}, "said"),
        "not a number": (GIVEN | {"initial": lost}, "said.b"),
        "engine": ({"graph": graphs.rolled()}, "turned"),
    }


@pytest.mark.parametrize("name", _broken())
def test_what_cannot_be_run_is_refused_by_name_and_changes_nothing(people: People, name: str) -> None:
    """The node or the field is named; no job is made and nothing is held."""
    model, named = _broken()[name]
    recipe = RECIPE | ({"engine": "bookkeeping"} if name == "engine" else {})
    jobs, ledger = len(list(people.trainer.jobs)), people.owner.populations[people.population].ledger_seq
    with pytest.raises(InvalidRequestError) as refused:
        people.trainer.train(people.dataset, model=model, recipe=recipe, **WANTED)
    assert named in f"{refused.value} {refused.value.field}"
    assert len(list(people.trainer.jobs)) == jobs
    assert people.owner.populations[people.population].ledger_seq == ledger

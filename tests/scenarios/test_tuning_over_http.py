"""A tuning through the API: quoted, run, charged in both blocks, certified, verified, evaluated and used.

Everything runs: the worker steps in this process, the child is confined.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audit.findings import Verdict
from gateway.launchers import local
from gateway.services.log_reading import trust_file
from kernel.amounts import Epsilon
from kernel.errors import CorruptError
from kernel.events import Parameter
from kernel.signing import Envelope
from privacy.accounting.mechanisms import PrivateSelection
from privacy.accounting.price import Way, price
from privacy.accounting.rdp import job_epsilon
from privacy.release.certificate import Predicate, PrivacyCertificate
from privacy.release.check import check
from privacy.schema import TableSchema
from privgate.models import Model
from privgate.sdk.jobs import Quote
from privgate.verify import verify_bundle
from privgate.verify.releases import ReleaseFolder, check_folder
from tests.support.api import (
    SCHEMA,
    House,
    done,
    house,
    job_body,
    refused,
    worker_of,
)
from tests.support.walks import certificate_of, fetched, granted, released, sealed

ROWS = 1603
SEARCH = {"learning_rate": ["0.5", "2"], "clip": {"low": "0.25", "high": "1", "values": 2}}
TRIES = {"most": 4, "shape": "0", "gamma": "0.1"}
RECIPE = {"steps": 30, "expected_batch": 200}
FILE = "model.safetensors"


def rows() -> bytes:
    """Doses above a half make ill."""
    lines = (f"{i % 90}.{i},{i * 7 % 1000 / 1000},{'ill' if i * 7 % 1000 >= 500 else 'well'}" for i in range(ROWS))
    return ("age,dose,outcome\n" + "\n".join(lines) + "\n").encode()


def body(made: House, **changes: Any) -> dict[str, Any]:
    """A request to tune."""
    wanted = {"kind": "tuning", "epsilon": "6", "score_epsilon": "3", "recipe": RECIPE}
    return job_body(made.ids["dataset"], **(wanted | {"search": SEARCH, "tries": TRIES} | changes))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with sealed rows, a grant for tuning and evaluation, and one tuned model that was let go."""
    with house(tmp_path_factory.mktemp("tuning") / "home") as made:
        sealed(made, rows(), public_size=1600, epsilon="20", holdout_share="0.25")
        granted(made, "training")
        refused(made["trainer"].post("/v1/jobs", body(made)), 403, "denied")
        granted(made, "tuning", "evaluation")
        made.ids["trust"] = trust_file(made.gateway.on, made.tenant).to_bytes().decode()
        made.ids |= released(made, body(made))
        yield made


def predicate(made: House) -> Predicate:
    """What the certificate states."""
    return certificate_of(fetched(made, FILE)).predicate


def test_a_quote_says_what_both_ways_cost_and_takes_the_cheaper(tuned: House) -> None:
    """RULES 16: composition and selection stand side by side at the ledger's order; scoring is quoted for its block."""
    answer = done(tuned["trainer"].post("/v1/quotes", body(tuned)))
    quoted = answer["quote"]
    found = quoted["selection"]
    assert (found["candidates"], found["most_tries"]) == (4, 4)
    assert quoted["charge"] == min(found["composed"], found["selected"], key=Decimal)
    assert found["taken"] == ("composition" if quoted["charge"] == found["composed"] else "selection")
    assert Decimal(quoted["hold"]) == pytest.approx(2 * Decimal(quoted["charge"]), abs=Decimal("1e-8"))
    assert Decimal(found["score_charge"]) < Decimal(quoted["charge"])
    assert Decimal(found["score_epsilon"]) <= 3
    assert Decimal(quoted["epsilon"]) <= 6
    assert answer["spec"]["search"]["clip"] == ["0.25", "1"]
    told = dict(Quote.read(answer, gateway=None).lines())
    assert "on average" in str(told["tries"])
    assert str(told["priced by"]).startswith(found["taken"])


@pytest.mark.parametrize(("most", "epsilon", "taken"), [(24, "0.1", "composition"), (24, "20", "selection")])
def test_both_regimes_are_reached_by_requests(tuned: House, most: int, epsilon: str, taken: str) -> None:
    """RULES 16: small tries are composed, large ones selected; whoever asks does not have to know."""
    tries = {"most": most, "shape": "0", "gamma": "0.000001" if taken == "composition" else "0.02"}
    quoted = done(tuned["trainer"].post("/v1/quotes", body(tuned, epsilon=epsilon, tries=tries, score_epsilon="0.1")))
    assert quoted["quote"]["selection"]["taken"] == taken


def test_each_block_is_charged_its_own_part(tuned: House) -> None:
    """Training charges people who train, scoring people held out; the certificate states both, and each once."""
    stated = predicate(tuned)
    assert check(stated) == ()
    trained, scored = stated.mechanisms
    assert (str(trained.block), str(scored.block)) == ("train", "holdout")
    for part, asked in ((trained, "6"), (scored, "3")):
        assert isinstance(part.mechanism, PrivateSelection)
        assert part.mechanism.count == 1
        assert job_epsilon(part.mechanism, delta=stated.guarantee.delta).epsilon <= Epsilon.parse(asked)
    budget = done(tuned["owner"].get(f"/v1/populations/{tuned.ids['population']}"))
    charged = {block["block"]: block["charged"] for block in budget["blocks"]}
    order = stated.guarantee.order
    assert charged == {part.block: str(price(part.mechanism, order=order)) for part in stated.mechanisms}
    assert stated.this_job_alone.epsilon <= Epsilon.parse("6")
    assert stated.this_job_alone.pld_epsilon is None
    assert stated.self_test.ran


def test_the_certificate_names_the_released_candidate_and_no_other(tuned: House) -> None:
    """Only the best model and its recipe leave; the card tells them, and the number of tries is nowhere."""
    stated, card = predicate(tuned), fetched(tuned, FILE)["MODEL_CARD.md"].decode()
    assert stated.selection is not None
    recipe = stated.selection.recipe
    assert str(recipe.learning_rate) in ("0.5", "2")
    assert str(recipe.clip) in ("0.25", "1")
    assert stated.engine.clip == recipe.clip
    assert stated.selection.candidates == 4
    assert f"learning rate {recipe.learning_rate}" in card
    assert "private selection: one of 4 candidates, after 1 to 4 tries" in card


def changed(stated: Predicate, **changes: Any) -> Predicate:
    """A forged certificate."""
    return dataclasses.replace(stated, **changes)


def test_a_forged_selection_is_found_by_its_numbers(tuned: House) -> None:
    """The verifier prices a selection again; a missing or foreign candidate, or other tries, do not pass."""
    stated = predicate(tuned)
    assert stated.selection is not None
    trained, scored = stated.mechanisms
    assert isinstance(trained.mechanism, PrivateSelection)
    fewer = dataclasses.replace(trained.mechanism.tries, most=2)
    cheaper = dataclasses.replace(trained, mechanism=dataclasses.replace(trained.mechanism, tries=fewer))
    told = dataclasses.replace(trained, mechanism=trained.mechanism.base)
    other = dataclasses.replace(stated.selection.recipe, clip=Parameter("7"))
    longer = dataclasses.replace(stated.selection.recipe, steps=31)
    alone = dataclasses.replace(stated.this_job_alone, pld_epsilon=Parameter("1"))
    for forged in (
        changed(stated, selection=None),
        changed(stated, selection=dataclasses.replace(stated.selection, recipe=other)),
        changed(stated, selection=dataclasses.replace(stated.selection, recipe=longer)),
        changed(stated, mechanisms=(cheaper, scored)),
        changed(stated, mechanisms=(told, scored)),
        changed(stated, mechanisms=(trained,)),
        changed(stated, this_job_alone=alone),
    ):
        assert check(forged)
    large = price(trained.mechanism, order=stated.guarantee.order, way=Way.COMPOSITION)
    assert large >= stated.guarantee.charge


def test_nothing_tells_how_many_were_tried(tuned: House) -> None:
    """RULES 16: no progress between start and end, one step, one attempt, and a charge that is the quote's."""
    followed = tuned["trainer"].get(f"/v1/jobs/{tuned.ids['job']}/events").text
    lines = [json.loads(line[5:]) for line in followed.splitlines() if line.startswith("data:")]
    assert lines == [{"percent": 0, "state": "running"}] * (len(lines) - 1) + [{"percent": 100, "state": "finished"}]
    entries = [entry for entry in tuned.log() if entry["fields"].get("job") == tuned.ids["job"]]
    (ended,) = [entry["fields"] for entry in entries if entry["type"] == "job:ended"]
    assert (ended["attempts"], ended["steps_started"]) == (1, 1)
    quoted = done(tuned["trainer"].post("/v1/quotes", body(tuned)))["quote"]
    assert str(predicate(tuned).guarantee.charge) in (quoted["charge"], quoted["selection"]["score_charge"])
    assert not any("savepoint" in entry["type"] for entry in entries)


class Gone:
    """A child that announces its selection, and dies in it."""

    def __init__(self) -> None:
        self.channel = self
        self._says = iter([{"m": "rehearsed"}, {"m": "need", "upto": 1}])

    def send(self, header: dict[str, Any], body: bytes = b"") -> None:
        """Hear what the parent says."""

    def receive(self, _: int) -> tuple[dict[str, Any], bytes]:
        """Say the next thing, or be gone."""
        header = next(self._says, None)
        if header is None:
            raise CorruptError("the child is gone")
        return header, b""

    def wait(self, _: float) -> None:
        """Nobody knows how it ended."""


def test_a_selection_that_was_lost_is_made_anew_and_charged_twice(
    tuned: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES 7: no resume. The second attempt selects anew, both are charged, and both were held for."""
    trainer, owner = tuned["trainer"], tuned["owner"]
    wanted = body(tuned, epsilon="1", score_epsilon="0.5", recipe=RECIPE | {"steps": 5})
    quoted = done(trainer.post("/v1/quotes", wanted))["quote"]
    job = done(trainer.post("/v1/jobs", wanted), 202)["job"]

    @contextmanager
    def spawned(*_: Any, **__: Any) -> Iterator[Gone]:
        yield Gone()

    with monkeypatch.context() as patch:
        patch.setattr(local, "spawn", spawned)
        assert worker_of(tuned).step()
    assert done(trainer.get(f"/v1/jobs/{job}"))["release"] is None
    assert worker_of(tuned).step()
    release = done(trainer.get(f"/v1/jobs/{job}"))["release"]
    done(owner.post(f"/v1/releases/{release}/check", {"verdict": "release"}))
    tuned.settle()
    envelope = trainer.get(f"/v1/releases/{release}/files/certificate.json").content
    stated = PrivacyCertificate.parse(Envelope.from_bytes(envelope).payload).predicate
    assert [part.mechanism.times for part in stated.mechanisms] == [2, 2]
    assert str(stated.guarantee.charge) in (quoted["hold"], quoted["selection"]["score_hold"])
    assert check(stated) == ()


def test_the_model_is_used_and_evaluated_like_any_other(tuned: House) -> None:
    """It opens by its request, has learned the rule, and its evaluation is priced on the same holdout."""
    files, stated = fetched(tuned, FILE), predicate(tuned)
    request = done(tuned["trainer"].get(f"/v1/jobs/{tuned.ids['job']}"))["request"]
    schema = TableSchema.from_json(SCHEMA)
    model = Model.open(
        files["model.safetensors"], request, schema, graph=stated.model.graph, features=stated.model.features
    )
    told = model.predict([{"age": 40, "dose": 0.05, "outcome": "well"}, {"age": 40, "dose": 0.95, "outcome": "ill"}])
    assert len(told) == 2
    request = {"v": 1, "kind": "evaluation", "label": None, "release": tuned.ids["release"], "epsilon": "3"}
    assert released(tuned, job_body(tuned.ids["dataset"], **request))["release"]


def test_the_verifier_confirms_release_and_history(tuned: House, tmp_path: Path) -> None:
    """Folder and exported archive are sound; prices, balances and certificate follow from each other offline."""
    trust = trust_file(tuned.gateway.on, tuned.tenant)
    folder = check_folder(ReleaseFolder("", dict(fetched(tuned, FILE))), trust, None)
    assert folder.verdict is Verdict.OK, folder
    tuned.settle()
    archive = tuned["auditor"].get("/v1/archive")
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        tar.extractall(tmp_path / "archive", filter="data")
    verdict = verify_bundle(tmp_path / "archive", trust)
    assert verdict.exit_code == 0, verdict

"""A site in blind training: the model is that of training in the clear, and what a gateway can do comes to nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.canonical import Digest
from kernel.ids import JobId, PartyId, Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.blind.documents import BlindFinal, BlindGradient, BlindOrder
from privacy.homomorphic.blind.model import commitment, read_model
from privacy.homomorphic.blind.recipe import Floats
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.validator import holds_secret_key
from privacy.schema import TableSchema
from privgate.agents.log import verified
from privgate.agents.rules import Requests, Rules
from privgate.agents.site.blind import model_of
from privgate.agents.site.blind_steps import BlindSteps
from privgate.agents.site.datasets import SiteDatasets
from privgate.agents.verifying import verify_home
from tests.support.blind import REQUEST, BlindCarrier, Outsourcing

EPOCHS = int(REQUEST["epochs"])


def weights_of(model: bytes) -> Floats:
    """The weights in a model's file."""
    return np.array([float.fromhex(weight) for weight in json.loads(model)["weights"]])


def kinds(carrier: BlindCarrier) -> list[DocumentKind]:
    """What the gateway was sent, in any order."""
    return sorted(place.kind for place in carrier.kept if place.kind is not DocumentKind.GRADIENT)


@pytest.fixture
def made(tmp_path: Path) -> Outsourcing:
    """A site with eighty made-up patients."""
    return Outsourcing(tmp_path)


def test_a_model_is_trained_and_stays_at_its_owner(made: Outsourcing) -> None:
    """Its weights are those of training in the clear; the gateway holds ciphertexts, and a salted digest at the end."""
    order = made.order()
    carrier = BlindCarrier(order, made.signer, made.site)
    made.turn(carrier)
    parcel = Parcel.from_bytes(carrier.kept[Place(made.job, DocumentKind.FINAL)])
    final = BlindFinal.opened(parcel.document, [made.site.who.identity])
    with made.site.home(made.clock) as home:
        model = model_of(home, made.job)
        kept = sorted(file.name for file in (made.site.path / "jobs" / made.job).iterdir())
    assert np.abs(weights_of(model) - made.plain(order)).max() < 1e-3
    assert np.abs(made.plain(order)).max() > 0.1
    assert [line["term"] for line in read_model(model)["table"]] == ["(intercept)", "age", "dose"]
    assert (final.model, final.epochs) == (commitment(model), EPOCHS)
    assert not any(holds_secret_key(data) for data in carrier.kept.values())
    assert kept == ["final", "model", "order"], "the key and everything under it is destroyed"
    history, _ = verified((made.site.path / "log.jsonl").read_bytes(), made.site.who)
    assert (history.of(made.job).decryptions, history.of(made.job).ended) == (EPOCHS, True)
    assert verify_home(made.site.path).size == len((made.site.path / "log.jsonl").read_bytes().splitlines())


class Old(BlindCarrier):
    """Answers each epoch after the first with the ciphertext of the first, signed anew."""

    first: bytes = b""

    def computed(self, number: int, weights: bytes) -> bytes:
        self.first = self.first or super().computed(number, weights)
        return self.first


class Doubled(BlindCarrier):
    """Computes on weights of an epoch before: a true gradient, of other weights."""

    before: bytes = b""

    def computed(self, number: int, weights: bytes) -> bytes:
        self.before = self.before or weights
        return super().computed(number, self.before)


class Garbage(BlindCarrier):
    """Coefficients that say nothing, in the right form."""

    def computed(self, number: int, weights: bytes) -> bytes:
        honest = bytearray(super().computed(number, weights))
        middle = len(honest) // 2
        honest[middle : middle + 4096] = bytes(4096)
        return bytes(honest)


@pytest.mark.parametrize("hostile", [Old, Doubled, Garbage])
def test_a_gateway_that_computes_wrongly_gets_no_model_made(made: Outsourcing, hostile: type[BlindCarrier]) -> None:
    """The site refuses, and only when all weights have gone out: where it noticed is nobody's to learn."""
    carrier = hostile(made.order(), made.signer, made.site)
    made.turn(carrier)
    assert made.why() == "result"
    sent = [DocumentKind.DATA, DocumentKind.ORDER, DocumentKind.REFUSAL, *[DocumentKind.WEIGHTS] * EPOCHS]
    assert kinds(carrier) == sorted(sent)
    kept = {file.name for file in (made.site.path / "jobs" / made.job).iterdir()}
    assert not kept & {"secret", "memory", "model", "final"}


def replayed(carrier: BlindCarrier, gradient: BlindGradient, body: bytes) -> bytes:
    """A gradient's parcel, signed by the gateway."""
    return Parcel(gradient.signed(carrier.signer), body).to_bytes()


TWISTS: dict[str, Callable[[BlindCarrier, BlindGradient, bytes], bytes]] = {
    "another job": lambda c, g, b: replayed(c, replace(g, job=JobId.new(os.urandom)), b),
    "another order": lambda c, g, b: replayed(c, replace(g, order=Digest.of(b"other")), b),
    "another epoch": lambda c, g, b: replayed(c, replace(g, number=g.number + 1), b),
    "other weights": lambda c, g, b: replayed(c, replace(g, weights=Digest.of(b"other")), b),
    "other bytes": lambda c, g, b: replayed(c, g, b[:-1] + bytes([b[-1] ^ 1])),
    "truncated": lambda c, g, b: replayed(c, replace(g, gradient=Digest.of(b[:-8])), b[:-8]),
    "longer": lambda c, g, b: replayed(c, replace(g, gradient=Digest.of(b + b"\0")), b + b"\0"),
    "another header": lambda c, g, b: replayed(c, replace(g, gradient=Digest.of(b"\0" + b[1:])), b"\0" + b[1:]),
    "another signer": lambda c, g, b: Parcel(g.signed(Ed25519Signer(os.urandom(32))), b).to_bytes(),
    "no parcel": lambda c, g, b: b,
}


@pytest.mark.parametrize("twist", TWISTS)
def test_a_gradient_that_is_not_the_one_that_is_due_is_refused(made: Outsourcing, twist: str) -> None:
    """Before it is decrypted: the log has no decryption."""

    class Twisted(BlindCarrier):
        def gradient(self, weights: bytes) -> bytes:
            cut = Parcel.from_bytes(super().gradient(weights))
            document = BlindGradient.opened(cut.document, [self.signer.public_key])
            return TWISTS[twist](self, document, cut.attachment)

    made.turn(Twisted(made.order(), made.signer, made.site))
    assert made.why() == "chain"
    history, _ = verified((made.site.path / "log.jsonl").read_bytes(), made.site.who)
    assert history.of(made.job).decryptions == 0


ORDERS: dict[str, tuple[str, Callable[[BlindOrder], dict[str, Any]]]] = {
    "another gateway": ("another-order", lambda o: {"gateway": "other.example/audit"}),
    "another site": ("not-ours", lambda o: {"site": replace(o.site, party=PartyId.new(os.urandom))}),
    "another profile": ("profile", lambda o: {"profile": Slug("bfv-4096-public")}),
    "another digest": ("another-order", lambda o: {"spec_digest": Digest.of(b"other")}),
    "another request": ("another-order", lambda o: {"spec": {**o.spec, "epochs": 9}}),
    "more epochs": ("rules", lambda o: {"plan": {**o.plan, "epochs": 9}}),
    "more room": ("rules", lambda o: {"plan": {**o.plan, "rows": 999}}),
    "longer waits": ("another-order", lambda o: {"round_seconds": 5}),
}


@pytest.mark.parametrize("change", ORDERS)
def test_an_order_that_is_not_what_was_asked_for_is_refused(made: Outsourcing, change: str) -> None:
    """Nothing is encrypted for it."""
    why, changed = ORDERS[change]
    order = made.order()
    carrier = BlindCarrier(replace(order, **changed(order)), made.signer, made.site)
    made.turn(carrier)
    assert (made.why(), kinds(carrier)) == (why, [DocumentKind.ORDER, DocumentKind.REFUSAL])


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (dict(REQUEST) | {"rows": 79}, "data"),
        (dict(REQUEST) | {"rate": "100", "decay": "0", "epochs": 60}, "range"),
    ],
)
def test_what_cannot_be_trained_is_declined_before_anything_is_encrypted(
    made: Outsourcing, request_: dict[str, Any], why: str
) -> None:
    """More rows than room, or a polynomial that would not hold: the gateway gets one word."""
    carrier = BlindCarrier(made.order(request_), made.signer, made.site)
    made.turn(carrier)
    assert (made.why(), kinds(carrier)) == (why, [DocumentKind.ORDER, DocumentKind.REFUSAL])


def test_too_few_persons_are_not_outsourced(tmp_path: Path) -> None:
    """The site's own minimum holds here as everywhere."""
    made = Outsourcing(tmp_path, count=4)
    carrier = BlindCarrier(made.order(), made.signer, made.site)
    made.turn(carrier)
    assert (made.why(), kinds(carrier)) == ("persons", [DocumentKind.ORDER, DocumentKind.REFUSAL])


def test_a_file_that_is_not_the_attested_one_is_not_encrypted(made: Outsourcing) -> None:
    """As in every job of a site."""
    made.file.write_text(made.file.read_text(encoding="utf-8") + "50,1,true\n", encoding="utf-8")
    made.turn(BlindCarrier(made.order(), made.signer, made.site))
    assert made.why() == "data"


def test_a_site_trains_blindly_only_if_its_people_said_so(made: Outsourcing) -> None:
    """It is not among what a site takes part in at first; and each order waits until it is allowed, by any rules."""
    order = made.order(allowed=False)
    with made.site.home(made.clock) as home:
        home.allow(Rules(kinds=(Slug("he.blind-logistic"),), requests=Requests.ANY))
    carrier = BlindCarrier(order, made.signer, made.site)
    made.turn(carrier)
    assert kinds(carrier) == [DocumentKind.ORDER]
    with made.site.home(made.clock) as home:
        home.allow_request(order.spec_digest)
    made.turn(carrier)
    assert DocumentKind.FINAL in kinds(carrier)
    assert Slug("he.blind-logistic") not in Rules().kinds
    assert SiteDatasets(made.site.path).get(order.dataset).population == order.population


def test_a_gateway_that_orders_by_itself_learns_nothing_of_the_rows(made: Outsourcing) -> None:
    """Orders with less and less room would find the number of rows, one with a steep rate what they are like."""
    for request in ({**REQUEST, "rows": 79}, {**REQUEST, "rows": 80}, {**REQUEST, "rate": "100", "epochs": 1}):
        made.job = JobId.new(os.urandom)
        carrier = BlindCarrier(made.order(request, allowed=False), made.signer, made.site)
        made.turn(carrier)
        assert kinds(carrier) == [DocumentKind.ORDER]


class SilentCarrier(BlindCarrier):
    """A gateway that lists the job for ever and makes no gradient."""

    def gradient(self, weights: bytes) -> bytes:
        return b""

    def post(self, who: PartyId, place: Place, data: bytes) -> None:
        super().post(who, place, data)
        self.kept.pop(Place(self.job, DocumentKind.GRADIENT, place.number or 1), None)


def test_a_gradient_that_does_not_come_is_not_waited_for_for_ever(made: Outsourcing) -> None:
    """Whatever the gateway lists: after its time, and as long again, the site declines and has no key any more."""
    order = made.order()
    carrier = SilentCarrier(order, made.signer, made.site)
    made.turn(carrier)
    made.clock.advance(2 * order.round_seconds - 1)
    made.turn(carrier)
    assert made.why() is None
    made.clock.advance(2)
    made.turn(carrier)
    assert made.why() == "deadline"
    with made.site.home(made.clock) as home:
        assert home.papers_of(made.job).get("secret") is None


@pytest.mark.slow
def test_thirty_columns_in_confined_children(tmp_path: Path) -> None:
    """As large as the table that the tutorials train on, each step of the site in a process of its own."""
    source, names = np.random.default_rng(3), [f"x{number}" for number in range(1, 31)]
    common = source.normal(size=(455, 1))
    values = np.clip(0.6 * common + 0.8 * source.normal(size=(455, 30)), -3, 3)
    ill = source.random(455) < 1 / (1 + np.exp(-2 * common[:, 0]))
    columns: dict[str, Any] = {name: values[:, place].round(4).tolist() for place, name in enumerate(names)}
    columns["ill"] = ill.tolist()
    numeric = [{"kind": "numeric", "name": name, "low": "-3", "high": "3"} for name in names]
    schema = TableSchema.from_json({"columns": [*numeric, {"kind": "boolean", "name": "ill"}]})
    made = Outsourcing(tmp_path, table=(columns, schema), steps=BlindSteps())
    order = made.order(dict(REQUEST) | {"rows": 500, "predictors": names, "epochs": 6, "rate": "2"})
    made.turn(BlindCarrier(order, made.signer, made.site))
    with made.site.home(made.clock) as home:
        found = weights_of(model_of(home, made.job))
    assert np.abs(made.plain(order)).max() > 0.2
    assert np.abs(found - made.plain(order)).max() < 1e-3


class Killed(BaseException):
    """The agent is gone."""


def points_of(folder: Path) -> list[str]:
    """The points that one life passes, without harm."""
    made, passed = Outsourcing(folder), list[str]()
    made.turn(BlindCarrier(made.order(), made.signer, made.site), passed.append)
    return passed


def killed_at(folder: Path, at: int) -> str:
    """Kill the site at one point, start it again, and hold what comes of it against the rules; the point's name."""
    made, passed = Outsourcing(folder), list[str]()
    carrier = BlindCarrier(made.order(), made.signer, made.site)

    def point(name: str) -> None:
        passed.append(name)
        if len(passed) == at:
            raise Killed

    with pytest.raises(Killed):
        made.turn(carrier, point)
    sent = dict(carrier.kept)
    made.turn(carrier)
    made.turn(carrier)
    assert made.why() is None, passed[-1]
    assert {place for place in sent if carrier.kept[place] != sent[place]} == set(), "something was made anew"
    with made.site.home(made.clock) as home:
        model = model_of(home, made.job)
        assert home.log.history.of(made.job).ended, passed[-1]
    parcel = Parcel.from_bytes(carrier.kept[Place(made.job, DocumentKind.FINAL)])
    assert BlindFinal.opened(parcel.document, [made.site.who.identity]).model == commitment(model)
    assert np.abs(weights_of(model) - made.plain(carrier.order)).max() < 1e-3
    kept = {file.name for file in (made.site.path / "jobs" / made.job).iterdir()}
    assert not kept & {"secret", "memory", "data"}, passed[-1]
    return passed[-1]


@pytest.mark.parametrize("deed", ["decrypting", "finished"])
def test_killed_around_what_cannot_be_taken_back(tmp_path: Path, deed: str) -> None:
    """Before an entry is flushed, it goes on with the very same bytes."""
    name = f"party-log-{deed}:before-fsync"
    assert killed_at(tmp_path / "killed", points_of(tmp_path / "counting").index(name) + 1) == name


@pytest.mark.slow
def test_killed_at_any_point_it_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """Each ninth point of a whole life."""
    total = len(points_of(tmp_path / "counting"))
    assert total > 100
    for at in range(1, total + 1, 9):
        killed_at(tmp_path / f"at-{at}", at)

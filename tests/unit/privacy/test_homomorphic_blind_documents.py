"""Documents, request and model of blind training: one way to write each, and nothing else is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import DatasetId, JobId, PartyId, PopulationId, Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.blind.assignment import Memory
from privacy.homomorphic.blind.documents import BlindData, BlindFinal, BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.judging import read_data, read_final, read_gradient, read_weights
from privacy.homomorphic.blind.model import SALT_BYTES, commitment, model_bytes, read_model
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.blind.spec import BlindSpec, complete_blind
from privacy.homomorphic.documents.parties import Identity, Member, PartyKind, SealingKey
from privacy.homomorphic.documents.signed import Document, Parcel
from tests.support.consortium import SCHEMA

SITE, GATEWAY = Ed25519Signer(b"s" * 32), Ed25519Signer(b"g" * 32)
JOB, DATASET = JobId.new(lambda n: b"j" * n), DatasetId.new(lambda n: b"d" * n)
SHORT: Mapping[str, Any] = {
    "kind": "he.blind-logistic",
    "dataset": str(DATASET),
    "purpose": "research",
    "rows": 50,
    "outcome": "ill",
    "predictors": ["age"],
}
SPEC = complete_blind(SHORT, SCHEMA)
ORDER = BlindOrder(
    job=JOB,
    gateway="gw.example/audit",
    spec=SPEC.to_json(),
    spec_digest=SPEC.digest,
    plan=SPEC.plan(SCHEMA).to_json(),
    profile=PROFILE.name,
    profile_digest=PROFILE.digest,
    site=Member(
        party=PartyId.new(lambda n: b"p" * n),
        who=Identity(
            name=Slug("hospital"), kind=PartyKind.SITE, identity=SITE.public_key, sealing=SealingKey(b"k" * 32)
        ),
    ),
    dataset=DATASET,
    population=PopulationId.new(lambda n: b"o" * n),
    decision=Digest.of(b"decision"),
    approvals=(),
    round_seconds=3600,
)
ONE = Digest.of(b"one")
DOCUMENTS: tuple[Document, ...] = (
    ORDER,
    BlindData(job=JOB, order=ORDER.digest, profile=PROFILE.digest, keys=ONE, data=ONE),
    BlindWeights(job=JOB, order=ORDER.digest, number=1, previous=ONE, weights=ONE),
    BlindGradient(job=JOB, order=ORDER.digest, number=1, weights=ONE, gradient=ONE),
    BlindFinal(job=JOB, order=ORDER.digest, previous=ONE, epochs=10, model=ONE),
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_document_has_exactly_its_members(document: Document) -> None:
    """It reads back as itself; a member more, less, or of a wrong kind is refused."""
    body = document.to_json()
    assert sorted(body) == sorted(document.MEMBERS)
    assert type(document).opened(document.signed(SITE), [SITE.public_key]) == document
    with pytest.raises(CorruptError):
        type(document).opened(document.signed(SITE), [GATEWAY.public_key])
    for name in body:
        without = {other: value for other, value in body.items() if other != name}
        for wrong in (without, body | {name: ["?"]}, body | {"more": 1}):
            with pytest.raises(PrivgateError):
                type(document).from_json(wrong)


def test_no_two_documents_are_taken_for_each_other() -> None:
    """Each has a payload type and a tag of its own."""
    assert len({document.TYPE for document in DOCUMENTS}) == len({d.TAG for d in DOCUMENTS}) == len(DOCUMENTS)
    for document in DOCUMENTS:
        for other in DOCUMENTS:
            if other is not document:
                with pytest.raises(CorruptError):
                    type(other).opened(document.signed(SITE), [SITE.public_key])


def test_only_what_is_due_is_read() -> None:
    """Of the right form, signed by the right key, and still for something else: refused with one sentence."""
    site, gateway = SITE.public_key, (GATEWAY.public_key,)
    weights = BlindWeights(job=JOB, order=ORDER.digest, number=1, previous=ONE, weights=Digest.of(b""))
    gradient = BlindGradient(job=JOB, order=ORDER.digest, number=1, weights=weights.digest, gradient=Digest.of(b""))
    final = BlindFinal(job=JOB, order=ORDER.digest, previous=ONE, epochs=10, model=ONE)
    beside = Parcel(final.signed(SITE), b"beside").to_bytes()
    for read in (
        lambda: read_data(ORDER, Parcel(DOCUMENTS[1].signed(SITE), b"").to_bytes(), site),
        lambda: read_weights(ORDER, 1, ONE, Parcel(weights.signed(SITE), b"").to_bytes(), site),
        lambda: read_weights(ORDER, 2, ONE, Parcel(weights.signed(SITE), b"").to_bytes(), site),
        lambda: read_gradient(ORDER, weights, Parcel(gradient.signed(GATEWAY), b"").to_bytes(), gateway),
        lambda: read_final(ORDER, 9, ONE, Parcel(final.signed(SITE), b"").to_bytes(), site),
        lambda: read_final(ORDER, 10, ORDER.digest, Parcel(final.signed(SITE), b"").to_bytes(), site),
        lambda: read_final(ORDER, 10, ONE, beside, site),
    ):
        with pytest.raises(CorruptError):
            read()
    assert read_final(ORDER, 10, ONE, Parcel(final.signed(SITE), b"").to_bytes(), site) == final


def test_an_order_is_a_sites() -> None:
    """A key holder cannot be outsourced to itself."""
    holder = replace(ORDER.site, who=replace(ORDER.site.who, kind=PartyKind.KEYHOLDER))
    with pytest.raises(InvalidError):
        replace(ORDER, site=holder)


def test_a_request_has_one_final_form() -> None:
    """What was left out is filled in; the form reads back, has one digest, and its plan follows from it."""
    assert BlindSpec.from_json(SPEC.to_json()) == SPEC
    assert (SPEC.epochs, str(SPEC.rate), str(SPEC.decay), SPEC.round_seconds) == (10, "1", "0.05", 3600)
    assert complete_blind(dict(SHORT) | {"rate": "1.0"}, SCHEMA).digest == SPEC.digest
    shape = SPEC.plan(SCHEMA).shape
    assert (shape.features, shape.padded, shape.ciphertexts) == (2, 2, 1)
    big = dict(SHORT) | {"rows": 65_536, "predictors": ["age", "dose"]}
    assert complete_blind(big, SCHEMA).plan(SCHEMA).shape.data_bytes < 64 * 2**20


def test_what_does_not_fit_a_parcel_is_refused_by_its_field() -> None:
    """The gateway would not take it later."""
    names = [f"x{number}" for number in range(30)]
    wide = [{"kind": "numeric", "name": name, "low": "0", "high": "1"} for name in names]
    schema = type(SCHEMA).from_json({"columns": [*wide, {"kind": "boolean", "name": "ill"}]})
    with pytest.raises(PrivgateError) as refused:
        complete_blind(dict(SHORT) | {"predictors": names, "rows": 20_000}, schema)
    assert refused.value.field == "rows"


def test_a_commitment_confirms_no_guess() -> None:
    """The same model under another salt has another commitment; a changed file is none of it."""
    plan, weights = SPEC.plan(SCHEMA), (0.25, -0.5)
    files = [model_bytes(JOB, plan, weights, os.urandom(SALT_BYTES)) for _ in range(2)]
    assert commitment(files[0]) == commitment(files[0]) != commitment(files[1])
    body = read_model(files[0])
    assert [line["term"] for line in body["table"]] == ["(intercept)", "age"]
    for wrong in ({"privacy": "private"}, {"format": "other"}, {"more": 1}):
        with pytest.raises(InvalidError):
            read_model(canonical.encode({**body, **wrong}))


@pytest.mark.parametrize(
    "changed", [{"weights": ["nan"]}, {"weights": ["inf"]}, {"weights": []}, {"epochs": -1}, {"spoiled": 1}, {"v": 2}]
)
def test_a_memory_is_read_strictly(changed: dict[str, Any]) -> None:
    """It lies on a disk; whatever happened to it, no weight is made up."""
    memory = Memory(epochs=2, weights=(0.5, -1.25), spoiled=True)
    assert Memory.from_bytes(memory.to_bytes()) == memory
    body = canonical.decode(memory.to_bytes(), limit=2**16)
    with pytest.raises(InvalidError):
        Memory.from_bytes(canonical.encode({**body, **changed}))

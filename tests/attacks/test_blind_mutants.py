"""Blind ciphertexts with a bit of each fixed byte turned over, signed anew, and orders whose plan is none: refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.signing import Ed25519Signer
from privacy.events.blind import BlindConcluded, BlindOrdered
from privacy.homomorphic.blind.documents import BlindFinal, BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.judging import read_gradient, read_weights, shape_of
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.wire import Form, ciphertext_form, secret_key_form
from privgate.verify.history import History
from privgate.verify.parties.blind import BlindCase, _guarded
from tests.unit.privacy.test_homomorphic_blind_documents import ORDER

SITE, GATEWAY = Ed25519Signer(b"s" * 32), Ed25519Signer(b"g" * 32)
BEFORE = Digest.of(b"before")
WEIGHTS = BlindWeights(job=ORDER.job, order=ORDER.digest, number=1, previous=BEFORE, weights=BEFORE)
GRADIENT = BlindGradient(job=ORDER.job, order=ORDER.digest, number=1, weights=WEIGHTS.digest, gradient=BEFORE)


def filled(form: Form) -> bytes:
    """An object of a form, with words that say nothing."""
    return form.prefix + b"\x07" * (8 * form.words) + form.suffix + b"\x09" * form.seed


def weights(body: bytes, order: BlindOrder = ORDER) -> None:
    """What the gateway's side does with weights."""
    said = replace(WEIGHTS, weights=Digest.of(body))
    read_weights(order, 1, BEFORE, Parcel(said.signed(SITE), body).to_bytes(), SITE.public_key)


def gradient(body: bytes, order: BlindOrder = ORDER) -> None:
    """What the site does with a gradient."""
    said = replace(GRADIENT, gradient=Digest.of(body))
    read_gradient(order, WEIGHTS, Parcel(said.signed(GATEWAY), body).to_bytes(), (GATEWAY.public_key,))


CASES: dict[str, tuple[Form, Callable[[bytes], None]]] = {
    "weights": (ciphertext_form(PROFILE, 0, fresh=True), weights),
    "gradient": (shape_of(ORDER).gradient_form, gradient),
}


@pytest.mark.parametrize("case", CASES)
def test_every_fixed_byte_counts(case: str) -> None:
    """Kind, version, compression, parameters, level, scale, lengths, generator."""
    form, judge = CASES[case]
    whole = filled(form)
    judge(whole)
    end = form.size - form.seed
    fixed = [*range(len(form.prefix)), *range(end - len(form.suffix), end)]
    for place in fixed:
        mutant = bytearray(whole)
        mutant[place] ^= 1 << place % 8
        with pytest.raises(PrivgateError):
            judge(bytes(mutant))
    for cut in (whole[:-1], whole + b"\0", b"", whole * 2, filled(secret_key_form(PROFILE, 0))):
        with pytest.raises(PrivgateError):
            judge(cut)


def test_weights_without_a_mask_are_refused() -> None:
    """A ciphertext whose second half would be drawn from nothing is its own plaintext."""
    form = ciphertext_form(PROFILE, 0, fresh=True)
    with pytest.raises(PrivgateError):
        weights(filled(form)[: -form.seed] + bytes(form.seed))


@pytest.mark.parametrize("plan", [{}, {"schema": 1}, dict(ORDER.plan) | {"epochs": "?"}])
def test_a_plan_that_is_none_is_a_finding_and_stops_no_auditor(plan: dict[str, object]) -> None:
    """Whatever a gateway signed: its order is wrong, and so is what follows from it; the verifier goes on."""
    order = replace(ORDER, plan=plan)
    case = BlindCase(History(), {order.site.party: order.site.who}, (GATEWAY.public_key,), order.gateway)
    issued = BlindOrdered(job=order.job, order=order.digest, party=order.site.party, profile=order.profile)
    assert _guarded(case, issued, order.signed(GATEWAY))
    final = BlindFinal(job=order.job, order=order.digest, previous=BEFORE, epochs=1, model=BEFORE)
    ended = BlindConcluded(job=order.job, final=final.digest, model=BEFORE, epochs=1)
    assert _guarded(case, ended, final.signed(SITE))

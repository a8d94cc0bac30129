"""Uploads: what is not exactly the one that is expected, from the site it is expected from, is refused unopened."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import JobId, PartyId
from kernel.signing import Ed25519Signer, sign_envelope
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.envelope import Expected, Upload, make_upload, open_upload, read_upload
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.sealed import OVERHEAD, new_sealing_key, open_sealed, seal_to, sealing_key_of
from privacy.homomorphic.validator import (
    holds_secret_key,
    require_public_key,
    require_secret_key,
    require_sum,
    require_upload,
)
from tests.support.homomorphic import SUMMING, Cast, encrypted, keys_of, layout_of

PUBLIC, SEEDED = "bfv-2048-wide-public", "bfv-2048-seeded"
OTHERS: dict[str, Callable[[Expected], Expected]] = {
    "another job": lambda e: replace(e, job=JobId.new(os.urandom)),
    "another order": lambda e: replace(e, order=Digest.of(b"x")),
    "another round, as a replay is": lambda e: replace(e, round=Digest.of(b"round 2"), number=2),
    "another text of the same round": lambda e: replace(e, round=Digest.of(b"x")),
    "another key": lambda e: replace(e, key=Digest.of(b"x")),
    "another set of sites": lambda e: replace(e, participants=Digest.of(b"two sites")),
    "another site": lambda e: replace(e, site=PartyId.new(os.urandom)),
    "another bound": lambda e: replace(e, layout=replace(e.layout, bound=e.layout.bound // 2)),
    "another number of summands": lambda e: replace(e, layout=replace(e.layout, summands=3)),
    "another profile": lambda e: replace(e, layout=layout_of("bfv-2048-wide-seeded", 10)),
}


@pytest.fixture(scope="module")
def public() -> Cast:
    """A site under a public key."""
    return Cast(PUBLIC)


@pytest.fixture(scope="module")
def seeded() -> Cast:
    """A site under a seeded profile."""
    return Cast(SEEDED)


def test_an_upload_arrives(public: Cast) -> None:
    """Under a public key the ciphertexts travel as they are, and anybody can judge them."""
    upload, body = open_upload(public.expected, public.parcel(), public.site.public_key)
    assert body == public.body
    assert read_upload(public.expected, public.parcel(), public.site.public_key) == upload
    assert Upload.from_json(upload.to_json()) == upload
    assert len(public.parcel()) < public.layout.upload_bytes + 2048 < 100_000


def test_a_seeded_upload_is_sealed_to_the_key_holder(seeded: Cast) -> None:
    """RULES 36: another site has the secret key, and must not read it; who carries it judges it unopened."""
    parcel = seeded.parcel()
    assert seeded.body[:200] not in parcel
    assert read_upload(seeded.expected, parcel, seeded.site.public_key).sealed
    assert open_upload(seeded.expected, parcel, seeded.site.public_key, seeded.private)[1] == seeded.body
    with pytest.raises(InvalidError):
        open_upload(seeded.expected, parcel, seeded.site.public_key)
    with pytest.raises(CorruptError):
        open_upload(seeded.expected, parcel, seeded.site.public_key, new_sealing_key(os.urandom))


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", [PUBLIC, SEEDED])
def test_an_upload_for_something_else_is_refused(other: str, name: str, request: pytest.FixtureRequest) -> None:
    """Signed by the right site, with true ciphertexts, for another purpose."""
    cast: Cast = request.getfixturevalue("public" if name == PUBLIC else "seeded")
    with pytest.raises(PrivgateError):
        open_upload(OTHERS[other](cast.expected), cast.parcel(), cast.site.public_key, cast.private)


def test_only_the_sites_own_signature_counts(public: Cast) -> None:
    """Of another site, of the same site for another kind of statement, or over other bytes: refused."""
    parcel = Parcel.from_bytes(public.parcel())
    other = Ed25519Signer.generate(os.urandom)
    forged = make_upload(public.expected, public.body, other, public.holder)
    document = canonical.encode(public.expected.upload(Digest.of(public.body)).to_json())
    misused = sign_envelope("application/vnd.privgate.he-round.v1+json", document, public.site).to_bytes()
    swapped = encrypted(public.layout, [9] * 10)
    for data in (
        forged,
        Parcel(misused, public.body).to_bytes(),
        Parcel(parcel.document, swapped).to_bytes(),
        Parcel(parcel.document, public.body + b"\0").to_bytes(),
        Parcel(parcel.document, public.body[:-1]).to_bytes(),
    ):
        with pytest.raises(PrivgateError):
            open_upload(public.expected, data, public.site.public_key)


def test_a_document_with_more_or_less_in_it_is_refused(public: Cast) -> None:
    """Signed by the site itself: every member is there, of its kind, and no other."""
    good = public.expected.upload(Digest.of(public.body)).to_json()
    changes = (
        {"summands": 2}, {"summands": True}, {"sealed": 0}, {"sealed": True}, {"ciphertexts": 3}, {"number": 0},
        {"v": 2}, {"site": "pty_x"}, {"body": "sha256:00"}, {"more": 1},
    )  # fmt: skip
    bodies = [{**good, **change} for change in changes] + [{k: v for k, v in good.items() if k != "layout"}]
    for body in bodies:
        signed = sign_envelope(Upload.TYPE, canonical.encode(body), public.site).to_bytes()
        with pytest.raises(PrivgateError):
            open_upload(public.expected, Parcel(signed, public.body).to_bytes(), public.site.public_key)


def test_a_sealed_upload_opens_in_its_place_alone(seeded: Cast) -> None:
    """A dishonest site that re-signs what another sealed gains nothing: the context is part of the key."""
    sealed = Parcel.from_bytes(seeded.parcel()).attachment
    thief = replace(seeded.expected, site=PartyId.new(os.urandom))
    signer = Ed25519Signer.generate(os.urandom)
    stolen = Parcel(thief.upload(Digest.of(sealed)).signed(signer), sealed).to_bytes()
    assert read_upload(thief, stolen, signer.public_key)
    with pytest.raises(CorruptError):
        open_upload(thief, stolen, signer.public_key, seeded.private)


def test_what_is_sealed_opens_with_its_key_and_purpose_alone() -> None:
    """Altered, cut, for another purpose, with another key: one error."""
    private, context = new_sealing_key(os.urandom), {"job": "a", "part": "secret"}
    sealed = seal_to(sealing_key_of(private), context, b"a key")
    assert len(sealed) == OVERHEAD + 5
    assert open_sealed(private, context, sealed) == b"a key"
    assert seal_to(sealing_key_of(private), context, b"a key") != sealed
    cases = [(private, {**context, "job": "b"}, sealed), (new_sealing_key(os.urandom), context, sealed)]
    cases += [(private, context, sealed[:cut]) for cut in (0, 31, 47, len(sealed) - 1)]
    cases += [
        (private, context, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) for at in (0, 31, 32, 40, -1)
    ]
    for key, purpose, data in cases:
        with pytest.raises(CorruptError):
            open_sealed(key, purpose, data)


@pytest.mark.parametrize("name", SUMMING)
def test_kinds_of_objects_do_not_pass_for_each_other(name: str) -> None:
    """Upload, sum, public key, secret key: each judge takes its own kind, of its own profile, and nothing else."""
    layout, pair = layout_of(name), keys_of(name)
    body = encrypted(layout, [1] * 100)
    secret = pair.secret.reveal()
    require_upload(layout, body)
    require_public_key(layout.profile, pair.public)
    require_secret_key(layout.profile, secret)
    for wrong in (pair.public, secret, b"", body + body, body[16:], body[: len(body) // 2], b"\0" * len(body)):
        with pytest.raises(CorruptError):
            require_upload(layout, wrong)
    for wrong in (body, secret, b""):
        with pytest.raises(CorruptError):
            require_public_key(layout.profile, wrong)
    for wrong in (body, pair.public, b""):
        with pytest.raises(CorruptError):
            require_secret_key(layout.profile, wrong)
    for other in set(SUMMING) - {name}:
        with pytest.raises(CorruptError):
            require_upload(layout_of(other), body)
    if layout.profile.mode.value == "seeded":
        with pytest.raises(CorruptError):
            require_sum(layout, body)


@pytest.mark.parametrize("name", [*SUMMING, "ckks-4096-linear", "ckks-8192-blind"])
def test_a_secret_key_is_found_wherever_it_lies(name: str) -> None:
    """The gateway refuses and destroys what holds one; public keys and ciphertexts are not mistaken for it."""
    pair = keys_of(name)
    secret = pair.secret.reveal()
    assert holds_secret_key(secret)
    assert holds_secret_key(b"something before" + secret + b"something behind")
    assert holds_secret_key(pair.public + secret[: len(secret) // 3])
    assert not holds_secret_key(pair.public)
    if name in SUMMING:
        assert not holds_secret_key(encrypted(layout_of(name), [1] * 100))


def test_a_plaintext_in_the_clothes_of_a_ciphertext_is_refused() -> None:
    """A second half of zeros (or a seed of zeros) hides nothing: a site that sent it would have told its numbers."""
    for name, hidden in (("bfv-4096-public", 8 * 4096), (SEEDED, 64)):
        layout = layout_of(name)
        body = encrypted(layout, [1] * 100)
        with pytest.raises(CorruptError):
            require_upload(layout, body[:-hidden] + bytes(hidden))


def test_lengths_follow_from_the_layout_alone() -> None:
    """Whatever the numbers are."""
    for name in SUMMING:
        layout = Layout(profile=profile_of(name), values=50, bound=2**20, summands=3)
        lengths = {len(encrypted(layout, [number] * 50)) for number in (0, 1, -1, 2**20, -(2**20))}
        assert lengths == {layout.upload_bytes}

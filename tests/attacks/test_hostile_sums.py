"""A gateway that adds, and hands on other sums: what can be found out is, and what cannot is what it is trusted for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kernel.canonical import Digest
from kernel.signing import Ed25519Signer
from privacy.glm.families import Family
from privacy.homomorphic.documents.order import Aggregation, Outcome
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.envelope import Upload
from privacy.homomorphic.packing import pack
from privacy.homomorphic.tenseal_backend.aggregate import aggregate
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privgate.agents.courses import course_of
from privgate.agents.rules import Rules
from tests.support.adding_gateways import Adding, Lie, adding, honest
from tests.support.consortium import Consortium, Unconfined


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Three hospitals and a key holder, whose people trust the gateway to add."""
    made = Consortium(tmp_path, Family.LINEAR)
    for party in made.everybody:
        with party.home(made.clock) as home:
            home.allow(Rules(outcomes=(Outcome.EXACT,), aggregation=(Aggregation.GATEWAY,)))
    return made


def test_an_honest_sum_is_decrypted_and_the_result_names_every_upload(consortium: Consortium) -> None:
    """The key holder holds no upload, and refuses nothing; so the tests below refuse because of the lie."""
    carrier, confined = adding(consortium), Unconfined()
    assert consortium.play(carrier, confined=confined) is not None
    assert consortium.refused(carrier) == set()
    with consortium.holder.home(consortium.clock) as home:
        kept = {path.name for path in (home.papers_of(consortium.job)).path.iterdir()}
    assert {"sum-1", *(f"header-1-{site.party}" for site in consortium.sites)} <= kept
    assert not [name for name in kept if name.startswith("upload-")]


def one_of_them(_: Adding, uploads: list[Upload], bodies: list[bytes]) -> tuple[list[Upload], bytes]:
    """One upload as it stands."""
    return uploads, bodies[0]


def twice_the_first(of: Adding, uploads: list[Upload], bodies: list[bytes]) -> tuple[list[Upload], bytes]:
    """The first site in the place of another."""
    return honest(of, [uploads[0], replace(uploads[0], site=uploads[1].site), uploads[2]], bodies)


def other_digests(of: Adding, uploads: list[Upload], bodies: list[bytes]) -> tuple[list[Upload], bytes]:
    """Uploads that nobody signed."""
    return honest(of, [replace(one, body=Digest.of(b"another")) for one in uploads], bodies)


def another_order(of: Adding, uploads: list[Upload], bodies: list[bytes]) -> tuple[list[Upload], bytes]:
    """The sites in another order."""
    return honest(of, uploads[::-1], bodies)


@pytest.mark.parametrize(
    "lie",
    [
        one_of_them,
        *(pytest.param(lie, marks=pytest.mark.slow) for lie in (twice_the_first, other_digests, another_order)),
    ],
)
def test_a_sum_that_does_not_match_what_sites_signed_is_refused(consortium: Consortium, lie: Lie) -> None:
    """Nothing is decrypted, and the job ends."""
    carrier, confined = adding(consortium, lie), Unconfined()
    assert consortium.play(carrier, confined=confined) is None
    assert consortium.why(consortium.holder) == "upload"
    assert confined.decrypted == []


@pytest.mark.slow
def test_headers_and_sums_of_another_signer_or_round_are_refused(consortium: Consortium) -> None:
    """The gateway signs sums with the key that is pinned; headers are the sites' own, of this very round."""
    carrier, confined = adding(consortium), Unconfined()
    carrier.signer = Ed25519Signer(os.urandom(32))
    assert consortium.play(carrier, confined=confined) is None
    assert (consortium.why(consortium.holder), confined.decrypted) == ("upload", [])


def test_a_header_that_a_site_did_not_sign_is_refused(consortium: Consortium) -> None:
    """Another site's in its place, or what the gateway signed itself."""
    carrier, confined = adding(consortium), Unconfined()
    first, second = consortium.sites[:2]

    def swapped(place: Place, document: bytes) -> bytes:
        if place.party != first.party:
            return document
        other = carrier.kept[replace(place, kind=DocumentKind.UPLOAD, party=second.party)]
        return Parcel.from_bytes(other).document

    carrier.header = swapped
    assert consortium.play(carrier, confined=confined) is None
    assert (consortium.why(consortium.holder), confined.decrypted) == ("upload", [])


@pytest.mark.slow
def test_a_second_sum_is_not_looked_at_once_one_was_taken(consortium: Consortium) -> None:
    """What is decrypted is fixed before: a gateway that changes its mind afterwards changes nothing."""
    carrier, confined = adding(consortium), Unconfined()
    for party in consortium.everybody:
        consortium.turn(party, carrier, confined=confined)
    consortium.turn(consortium.holder, carrier, confined=confined)
    assert len(confined.decrypted) == 1
    place = Place(consortium.job, DocumentKind.SUM, 1)
    carrier.kept.pop(place)
    carrier.lie = one_of_them
    assert consortium.play(carrier, confined=confined) is not None
    taken = [total for (total,) in confined.decrypted]
    assert len(set(taken)) == len(taken)


def test_what_a_gateway_that_adds_could_do_is_what_it_is_trusted_not_to(consortium: Consortium) -> None:
    """One upload made random again passes for the sum: nobody can see it. The documents say so; this shows it is so."""

    def randomised(of: Adding, uploads: list[Upload], bodies: list[bytes]) -> tuple[list[Upload], bytes]:
        layout = course_of(of.order).layout
        public = Parcel.from_bytes(of.kept[Place(of.job, DocumentKind.KEY)]).attachment
        nothing = encrypt(layout, public, pack(layout, [0] * layout.values))
        return uploads, aggregate(layout, [bodies[0], nothing])

    carrier, confined = adding(consortium, randomised), Unconfined()
    consortium.play(carrier, confined=confined)
    assert consortium.why(consortium.holder) != "upload"
    assert len(confined.decrypted) >= 1


@pytest.mark.slow
def test_a_key_holder_that_waits_for_a_sum_in_vain_gives_up(consortium: Consortium) -> None:
    """The gateway has a round's time for it beside that of the uploads, and no more."""
    carrier, confined = adding(consortium), Unconfined()
    carrier.lie = lambda *_: (_ for _ in ()).throw(AssertionError)  # never asked: nothing is shown
    fetch = carrier.fetch
    carrier.fetch = lambda who, place: None if place.kind is DocumentKind.SUM else fetch(who, place)
    consortium.play(carrier, confined=confined)
    consortium.clock.advance(601)
    consortium.turn(consortium.holder, carrier, confined=confined)
    assert consortium.why(consortium.holder) is None
    consortium.clock.advance(600)
    consortium.turn(consortium.holder, carrier, confined=confined)
    assert (consortium.why(consortium.holder), confined.decrypted) == ("deadline", [])

"""A gateway that lies to the parties of a homomorphic job: each lie is found by site or key holder (RULES 33, 34).

Everything here is real but the gateway: homes, keys, signatures, ciphertexts. Nothing is decrypted that should not be.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kernel.canonical import Digest
from kernel.errors import ConflictError, UnavailableError
from kernel.ids import JobId, PartyId
from kernel.signing import Ed25519Signer
from privacy.glm.families import Family
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Round, RoundResult
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privgate.agents.channel import RejectedError
from privgate.agents.deeds import Deed
from privgate.agents.verifying import verify_home
from tests.support.consortium import PROFILE, Carrier, Consortium, Unconfined, rows_of
from tests.support.hostile_gateways import Lying, played


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Three hospitals and a key holder."""
    return Consortium(tmp_path)


def test_an_honest_gateway_is_refused_by_nobody(consortium: Consortium) -> None:
    """So that the tests below refuse because of the lie."""
    carrier: Lying = consortium.carrier(Lying)
    assert consortium.play(carrier) is not None
    assert consortium.refused(carrier) == set()


@pytest.mark.parametrize("signed", [True, False], ids=["signed-by-the-gateway", "beside-the-real-document"])
def test_a_swapped_public_key_is_refused_by_every_site(consortium: Consortium, signed: bool) -> None:
    """A key of the gateway's own would let it read every upload."""
    own, impostor = make_keys(PROFILE), Ed25519Signer(os.urandom(32))

    def lie(_: PartyId, place: Place, data: bytes | None) -> bytes | None:
        if place.kind is not DocumentKind.KEY or data is None:
            return data
        document = (
            JobKey.of(consortium.order(), own.public).signed(impostor) if signed else Parcel.from_bytes(data).document
        )
        return Parcel(document, own.public).to_bytes()

    carrier, confined = played(consortium, lie)
    assert consortium.refused(carrier) == {site.who.name for site in consortium.sites}
    assert {consortium.why(site) for site in consortium.sites} == {"key"}
    assert not [place for place in carrier.kept if place.kind is DocumentKind.UPLOAD]
    assert confined.decrypted == []


def test_a_key_of_another_job_of_the_same_key_holder_is_refused(consortium: Consortium) -> None:
    """The key holder's signature is over one order; an old key is not good for a new one."""
    earlier = replace(consortium.order(), job=JobId.new(os.urandom))
    with consortium.holder.home(consortium.clock) as home:
        public = make_keys(PROFILE).public
        old = Parcel(JobKey.of(earlier, public).signed(home.signer), public).to_bytes()
    _, confined = played(consortium, lambda _, place, data: old if place.kind is DocumentKind.KEY else data)
    assert {consortium.why(site) for site in consortium.sites} == {"key"}
    assert confined.decrypted == []


@pytest.mark.parametrize("how", ["copied", "two-copies"])
def test_one_sites_upload_in_place_of_anothers_is_refused(consortium: Consortium, how: str) -> None:
    """The sum of three times one site is that site's own numbers."""
    first, *others = consortium.sites
    replaced = {site.party for site in (others if how == "two-copies" else others[:1])}

    def lie(_: PartyId, place: Place, data: bytes | None) -> bytes | None:
        if place.kind is DocumentKind.UPLOAD and place.party in replaced:
            return carrier_of[0].kept.get(replace(place, party=first.party))
        return data

    carrier_of: list[Lying] = [consortium.carrier(Lying)]
    carrier_of[0].lie = lie
    confined = Unconfined()
    assert consortium.play(carrier_of[0], confined=confined) is None
    assert consortium.why(consortium.holder) == "upload"
    assert confined.decrypted == []


def test_an_upload_of_another_round_is_refused(consortium: Consortium) -> None:
    """A replay: the first round's upload, valid then, in the second."""
    site = consortium.sites[1].party

    def lie(_: PartyId, place: Place, data: bytes | None) -> bytes | None:
        if place.kind is DocumentKind.UPLOAD and place.party == site and place.number == 2 and data is not None:
            return carrier.kept[replace(place, number=1)]
        return data

    carrier: Lying = consortium.carrier(Lying)
    carrier.lie = lie
    confined = Unconfined()
    assert consortium.play(carrier, confined=confined) is None
    assert consortium.why(consortium.holder) == "upload"
    assert len(confined.decrypted) == 1


def test_a_site_that_is_kept_away_ends_the_round_without_a_decryption(consortium: Consortium) -> None:
    """The sum of fewer is nearer to a single site's numbers; an exact model allows none to be missing."""
    away = consortium.sites[2].party
    carrier: Lying = consortium.carrier(Lying)
    carrier.lie = lambda _, place, data: None if place.kind is DocumentKind.UPLOAD and place.party == away else data
    confined = Unconfined()
    assert consortium.play(carrier, confined=confined) is None
    assert consortium.why(consortium.holder) is None
    consortium.clock.advance(601)
    consortium.turn(consortium.holder, carrier, confined=confined)
    assert consortium.why(consortium.holder) == "deadline"
    assert confined.decrypted == []


def test_a_job_that_the_gateway_hides_ends_by_its_deadline_and_its_key_is_gone(consortium: Consortium) -> None:
    """A secret key does not wait for ever for another set of uploads."""
    carrier: Lying = consortium.carrier(Lying)
    consortium.turn(consortium.holder, carrier)
    carrier.ended = True
    consortium.clock.advance(601)
    consortium.turn(consortium.holder, carrier)
    assert consortium.why(consortium.holder) == "deadline"
    assert not (consortium.holder.path / "jobs" / consortium.job / "secret").exists()


def test_a_second_decryption_over_another_set_is_impossible(consortium: Consortium) -> None:
    """Not even with the agent's papers taken away between two decryptions: the log remembers which uploads it was."""
    carrier: Lying = consortium.carrier(Lying)
    consortium.play(carrier, turns=1)
    consortium.turn(consortium.holder, carrier)
    with consortium.holder.home(consortium.clock) as home:
        begun = home.log.history.of(consortium.job).begun[1]
        with pytest.raises(ConflictError):
            home.log.append(Deed.DECRYPTING, consortium.job, number=1, what=Digest.of(b"another set"))
        assert home.log.history.of(consortium.job).begun[1] == begun


def test_uploads_swapped_after_a_decryption_began_are_not_looked_at(consortium: Consortium) -> None:
    """Killed in the middle, the key holder goes on with the uploads it had written down."""
    carrier: Lying = consortium.carrier(Lying)
    for party in consortium.everybody:
        consortium.turn(party, carrier)
    confined = Unconfined()

    def die(_: str) -> None:
        raise KeyboardInterrupt

    confined.decrypt = lambda *_: die("decrypting")  # type: ignore[method-assign,assignment,return-value]  # dies here
    with pytest.raises(KeyboardInterrupt):
        consortium.turn(consortium.holder, carrier, confined=confined)
    carrier.lie = lambda _, place, data: b"another" if place.kind is DocumentKind.UPLOAD else data
    again = Unconfined()
    consortium.turn(consortium.holder, carrier, confined=again)
    assert len(again.decrypted) == 1
    assert Place(consortium.job, DocumentKind.RESULT, 1) in carrier.kept


@pytest.mark.parametrize("how", ["the-first-again", "one-that-skips"])
def test_rounds_out_of_order_are_refused(consortium: Consortium, how: str) -> None:
    """A round that was there before, or one that does not name the result before it, even signed by the key holder."""
    carrier: Lying = consortium.carrier(Lying)
    consortium.play(carrier, turns=1)
    consortium.turn(consortium.holder, carrier)
    first, second = (Place(consortium.job, DocumentKind.ROUND, number) for number in (1, 2))
    shown = carrier.kept[first]
    if how == "one-that-skips":
        with consortium.holder.home(consortium.clock) as home:
            began = Round.read(carrier.kept[first]).previous
            shown = replace(Round.read(carrier.kept[second]), previous=began).signed(home.signer)
    carrier.lie = lambda _, place, data: shown if place == second else data
    for site in consortium.sites:
        consortium.turn(site, carrier)
    assert {consortium.why(site) for site in consortium.sites} == {"chain"}
    assert not [place for place in carrier.kept if place.kind is DocumentKind.UPLOAD and place.number == 2]


def test_a_result_that_adds_something_else_ends_it_for_the_site(consortium: Consortium) -> None:
    """Even a key holder who signs for other uploads gets no further answer: the site looks for its own."""
    carrier: Lying = consortium.carrier(Lying)
    consortium.play(carrier, turns=1)
    consortium.turn(consortium.holder, carrier)
    with consortium.holder.home(consortium.clock) as home:
        place = Place(consortium.job, DocumentKind.RESULT, 1)
        result = RoundResult.opened(carrier.kept[place], [home.who.identity])
        one, *rest = result.added
        forged = replace(result, added=(replace(one, upload=Digest.of(b"another")), *rest)).signed(home.signer)
    carrier.kept[place] = forged
    consortium.turn(consortium.sites[0], carrier)
    consortium.turn(consortium.sites[1], carrier)
    assert consortium.why(consortium.sites[0]) == "left-out"
    # The others find that the next round names another result than the one they were shown.
    assert consortium.why(consortium.sites[1]) == "chain"


def test_a_round_made_up_by_the_gateway_is_refused(consortium: Consortium) -> None:
    """Coefficients that the gateway chose could single out one patient."""
    impostor = Ed25519Signer(os.urandom(32))

    def lie(_: PartyId, place: Place, data: bytes | None) -> bytes | None:
        if place.kind is not DocumentKind.ROUND or data is None:
            return data
        honest = Round.read(data)
        return replace(honest, state={"point": [(1.0).hex(), (2.0).hex()]}).signed(impostor)

    _, confined = played(consortium, lie)
    assert {consortium.why(site) for site in consortium.sites} == {"chain"}
    assert confined.decrypted == []


def test_fewer_persons_than_declared_are_declined_before_anything_is_encrypted(tmp_path: Path) -> None:
    """And the gateway learns that the site declines, not why (RULES 39)."""
    of = Consortium(tmp_path, counts=(60, 4, 80))
    carrier: Carrier = of.carrier()
    assert of.play(carrier) is None
    assert of.why(of.sites[1]) == "persons"
    said = carrier.kept[Place(of.job, DocumentKind.REFUSAL, party=of.sites[1].party)]
    assert b"persons" not in said
    assert Place(of.job, DocumentKind.UPLOAD, 1, of.sites[1].party) not in carrier.kept


def test_rows_changed_between_rounds_are_declined(consortium: Consortium) -> None:
    """A result over two files is one of neither; what was attested is what is computed on."""
    carrier: Carrier = consortium.carrier()
    consortium.play(carrier, turns=1)
    rows = [f"{age},{dose},{str(ill).lower()}" for age, dose, ill in rows_of(9, 50)]
    (consortium.folder / "hospital-1.csv").write_text("\n".join(["age,dose,ill", *rows]) + "\n", encoding="utf-8")
    consortium.play(carrier)
    assert consortium.why(consortium.sites[0]) == "data"


def test_a_job_that_is_no_longer_listed_is_read_to_its_end(consortium: Consortium) -> None:
    """A site that looks away when the last documents come still has result and final in its log."""
    carrier: Lying = consortium.carrier(Lying)
    late = consortium.sites[2]
    for _ in range(40):
        for party in consortium.everybody:
            consortium.turn(party, carrier)
            carrier.ended = Place(consortium.job, DocumentKind.FINAL) in carrier.kept
        if carrier.ended:
            break
    consortium.turn(late, carrier)
    with late.home(consortium.clock) as home:
        known = home.log.history.of(consortium.job)
        assert (known.ended, known.why) == (True, None)
    assert not [place for place in carrier.kept if place.kind is DocumentKind.REFUSAL]


@pytest.mark.parametrize("garbage", [b"", b"privgate/parcel/v1\n\x00\x00\x00\x02{}"], ids=["empty", "parcel"])
@pytest.mark.parametrize("kind", ["order", "key", "round", "upload", "result", "final"])
def test_garbage_in_any_place_stops_no_agent(tmp_path: Path, kind: str, garbage: bytes) -> None:
    """It costs a poll, or the job; nothing is decrypted because of it, and every agent lives."""
    of = Consortium(tmp_path, Family.LINEAR)
    carrier: Lying = of.carrier(Lying)
    carrier.lie = lambda _, place, data: garbage if place.kind == kind and data is not None else data
    confined = Unconfined()
    of.play(carrier, confined=confined)
    assert len(confined.decrypted) == (1 if kind in ("result", "final") else 0)


@pytest.mark.parametrize("kind", ["key", "round", "upload", "result", "final"])
def test_a_document_that_will_never_be_taken_ends_the_job_at_once(tmp_path: Path, kind: str) -> None:
    """Nothing is tried again until the deadline; whoever made it says so to its own people, in one clear word."""
    of = Consortium(tmp_path, Family.LINEAR)
    carrier: Lying = of.carrier(Lying)
    tried = []

    def post(_: PartyId, place: Place, data: bytes) -> None:
        if place.kind == kind:
            tried.append(place)
            raise RejectedError("the gateway does not take this and will not take it later: status 422")
        carrier.kept[place] = data

    carrier.post = post  # type: ignore[method-assign]  # a gateway that refuses one kind
    confined = Unconfined()
    for _ in range(3):
        of.play(carrier, confined=confined)
    makers = of.sites if kind == "upload" else [of.holder]
    assert {of.why(maker) for maker in makers} == {"rejected"}
    assert len(tried) == len(makers)
    assert all(any("will not take it later" in told for told in maker.told) for maker in makers)
    assert len(confined.decrypted) == int(kind in ("result", "final"))
    assert not (of.holder.path / "jobs" / of.job / "secret").exists() or kind == "upload"
    for party in of.everybody:
        verify_home(party.path)


def test_a_gateway_that_is_busy_for_a_while_ends_nothing(tmp_path: Path) -> None:
    """What may be mended is tried again, and the job comes to its end as if nothing had been."""
    of = Consortium(tmp_path, Family.LINEAR)
    carrier: Lying = of.carrier(Lying)
    refused: set[Place] = set()
    honest = carrier.post

    def post(who: PartyId, place: Place, data: bytes) -> None:
        if place not in refused:
            refused.add(place)
            raise UnavailableError("the gateway answers with status 503: see its log")
        honest(who, place, data)

    carrier.post = post  # type: ignore[method-assign]  # each document is taken when it comes again
    final = None
    for _ in range(12):
        final = final or of.play(carrier)
    assert final is not None
    assert of.refused(carrier) == set()

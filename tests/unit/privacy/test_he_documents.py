"""Documents of homomorphic jobs: strict, signed by one, and no order of fewer than three sites."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import DatasetId, JobId, PartyId, PopulationId, Slug
from kernel.signing import Ed25519Signer, sign_envelope
from privacy.homomorphic.documents.endings import Final, Refusal
from privacy.homomorphic.documents.key import JobKey, SealedSecret
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import Identity, Member, PartyKind, SealingKey, SiteMember
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Added, LogHead, Round, RoundHeader, RoundResult, state_digest
from privacy.homomorphic.documents.signed import Document, DocumentKind, Parcel

SIGNER = Ed25519Signer(bytes(32))
JOB = JobId.new(os.urandom)
ANY = Digest.of(b"any")


def identity(name: str, kind: PartyKind = PartyKind.SITE) -> Identity:
    """Somebody new."""
    key = Ed25519Signer(os.urandom(32)).public_key
    return Identity(name=Slug(name), kind=kind, identity=key, sealing=SealingKey(os.urandom(32)))


def site(name: str) -> SiteMember:
    """A site with data of its own."""
    return SiteMember(
        member=Member(party=PartyId.new(os.urandom), who=identity(name)),
        dataset=DatasetId.new(os.urandom),
        population=PopulationId.new(os.urandom),
        weight=100,
        least_persons=5,
    )


def order(sites: int = 3) -> Order:
    """An order of so many sites."""
    holder = Member(party=PartyId.new(os.urandom), who=identity("holder", PartyKind.KEYHOLDER))
    return Order(
        job=JOB,
        gateway="gw.example/audit",
        kind=Slug("he.glm"),
        spec={"a": 1},
        spec_digest=ANY,
        plan={},
        outcome=Outcome.EXACT,
        profile=Slug("some-profile"),
        profile_digest=ANY,
        key_holder=holder,
        sites=tuple(site(f"site-{number}") for number in range(sites)),
        decisions=(ANY,),
        approvals=(),
        rounds_at_most=10,
        dropouts=0,
        round_seconds=60,
    )


def documents() -> list[Document]:
    """One of each kind."""
    made = order()
    parties = made.parties
    added = tuple(Added(site=party, upload=Digest.of(party.encode())) for party in parties)
    return [
        made,
        JobKey.of(made, b"public"),
        JobKey.of(made, b"public", tuple(SealedSecret(site=party, sealed=b"sealed") for party in parties)),
        Round(job=JOB, order=made.digest, number=1, previous=ANY, state={"point": None}).header,
        RoundResult(
            job=JOB, order=made.digest, number=1, round=ANY, added=added, learned=5, decryptions=1,
            log=LogHead(size=3, head=ANY),
        ),
        Final(
            job=JOB, order=made.digest, previous=ANY, rounds=1, decryptions=1, sites=parties, artefact=Digest.of(b"x")
        ),
        Refusal(job=JOB, order=made.digest, party=parties[0]),
    ]  # fmt: skip


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.KIND.value)
def test_a_document_comes_back_as_it_was(document: Document) -> None:
    """And its digest does not depend on who signed."""
    data = document.signed(SIGNER)
    assert type(document).opened(data, [SIGNER.public_key]) == document
    other = Ed25519Signer(os.urandom(32))
    assert type(document).opened(document.signed(other), [other.public_key]).digest == document.digest


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.KIND.value)
def test_a_document_is_strict(document: Document) -> None:
    """A missing member, one more, another version, another signer, another kind of document: refused."""
    body = document.to_json()
    wrong = [
        {**body, "more": 1},
        {**body, "v": 2},
        {**body, "v": True},
        *({k: v for k, v in body.items() if k != gone} for gone in body),
    ]
    for members in wrong:
        data = sign_envelope(document.TYPE, canonical.encode(members), SIGNER).to_bytes()
        with pytest.raises(PrivgateError):
            type(document).opened(data, [SIGNER.public_key])
    with pytest.raises(CorruptError):
        type(document).opened(document.signed(Ed25519Signer(os.urandom(32))), [SIGNER.public_key])
    other = sign_envelope("application/x", canonical.encode(body), SIGNER).to_bytes()
    with pytest.raises(CorruptError):
        type(document).opened(other, [SIGNER.public_key])
    with pytest.raises(CorruptError):
        type(document).read(other)


@pytest.mark.parametrize("document", documents(), ids=lambda document: document.KIND.value)
def test_members_of_another_kind_of_value_are_refused(document: Document) -> None:
    """Whatever stands in a member: an error of ours, never another."""
    for name in document.MEMBERS:
        for value in (None, -1, 2**53 - 1, "", "x", [], [1], {}, {"a": []}, True):
            try:
                type(document).from_json({**document.to_json(), name: value})
            except PrivgateError:
                continue


def test_a_round_comes_back_with_its_state_and_with_no_other() -> None:
    """What is signed names the state by its digest; a reader who lacks the state follows the chain all the same."""
    asked = Round(job=JOB, order=ANY, number=2, previous=ANY, state={"point": ["0x1.8p+1"]})
    data = asked.signed(SIGNER)
    assert Round.opened(data, [SIGNER.public_key]) == Round.read(data) == asked
    header = RoundHeader.opened(Parcel.from_bytes(data).document, [SIGNER.public_key])
    assert header.digest == asked.digest
    assert header.state == state_digest(asked.state)
    other = Parcel(Parcel.from_bytes(data).document, canonical.encode({"point": None})).to_bytes()
    with pytest.raises(CorruptError):
        Round.opened(other, [SIGNER.public_key])
    with pytest.raises(CorruptError):
        Round.opened(data, [Ed25519Signer(os.urandom(32)).public_key])
    bare = Parcel(RoundHeader(job=JOB, order=ANY, number=1, previous=ANY, state=Digest.of(b"[]")).signed(SIGNER), b"[]")
    with pytest.raises(InvalidError):
        Round.opened(bare.to_bytes(), [SIGNER.public_key])


def test_an_order_has_three_sites_at_least() -> None:
    """A sum of two tells each of the two what the other's is (RULES 39)."""
    with pytest.raises(InvalidError):
        order(2)


def test_dropouts_leave_three_sites() -> None:
    """So does whoever may be missing."""
    assert replace(order(5), dropouts=2).dropouts == 2
    with pytest.raises(InvalidError):
        replace(order(5), dropouts=3)


@pytest.mark.parametrize("shared", ["party", "identity", "sealing", "name", "dataset", "population"])
def test_nobody_stands_in_an_order_twice(shared: str) -> None:
    """One hospital under two names would be a sum of two."""
    made = order(4)
    first, second = made.sites[:2]
    who, member = second.who, second.member
    changed = {
        "party": lambda: replace(second, member=replace(member, party=first.party)),
        "identity": lambda: replace(second, member=replace(member, who=replace(who, identity=first.who.identity))),
        "sealing": lambda: replace(second, member=replace(member, who=replace(who, sealing=first.who.sealing))),
        "name": lambda: replace(second, member=replace(member, who=replace(who, name=first.who.name))),
        "dataset": lambda: replace(second, dataset=first.dataset),
        "population": lambda: replace(second, population=first.population),
    }
    with pytest.raises(InvalidError):
        replace(made, sites=(first, changed[shared](), *made.sites[2:]))


def test_a_key_holder_is_no_site() -> None:
    """Whoever decrypts does not give numbers, and the kinds of identity say who is who."""
    made = order(4)
    with pytest.raises(InvalidError):
        replace(made, key_holder=made.sites[0].member)
    with pytest.raises(InvalidError):
        replace(made, sites=(replace(made.sites[0], member=made.key_holder), *made.sites[1:]))


def test_a_key_is_of_one_order() -> None:
    """Any change of the order, and it is of another."""
    made = order()
    key = JobKey.of(made, b"public")
    assert key.is_of(made)
    assert not key.is_of(replace(made, round_seconds=61))
    assert not key.is_of(replace(made, sites=(*made.sites, site("late"))))


@pytest.mark.parametrize(
    "cut", [lambda d: d[:10], lambda d: b"X" + d[1:], lambda d: d[:19] + b"\xff\xff\xff\xff" + d[23:], lambda _: b""]
)
def test_a_parcel_is_cut_strictly(cut: Callable[[bytes], bytes]) -> None:
    """Whatever a length says, no more is read than is there."""
    parcel = Parcel(b"document", b"attachment")
    assert Parcel.from_bytes(parcel.to_bytes()) == parcel
    with pytest.raises(PrivgateError):
        Parcel.from_bytes(cut(parcel.to_bytes()))
    with pytest.raises(CorruptError):
        parcel.attached(Digest.of(b"other"))


def test_each_document_has_a_place_of_its_own() -> None:
    """No two documents of a job share an address."""
    party = PartyId.new(os.urandom)
    places = [Place(JOB, kind) for kind in (DocumentKind.ORDER, DocumentKind.KEY, DocumentKind.FINAL)]
    places += [Place(JOB, kind, number) for kind in (DocumentKind.ROUND, DocumentKind.RESULT) for number in (1, 2)]
    places += [Place(JOB, DocumentKind.UPLOAD, 1, party), Place(JOB, DocumentKind.REFUSAL, party=party)]
    assert len({place.path for place in places}) == len(places)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": DocumentKind.ORDER, "number": 1},
        {"kind": DocumentKind.ROUND},
        {"kind": DocumentKind.UPLOAD, "number": 1},
        {"kind": DocumentKind.KEY, "party": PartyId.new(os.urandom)},
        {"kind": DocumentKind.ROUND, "number": 1001},
    ],
)
def test_a_place_has_what_its_kind_has(wrong: dict[str, Any]) -> None:
    """No document of a round without its number."""
    with pytest.raises(InvalidError):
        Place(JOB, **wrong)


def test_an_identity_file_is_strict() -> None:
    """It is what people pin."""
    who = identity("north")
    assert Identity.from_bytes(who.to_bytes()) == who
    assert Identity.from_bytes(who.to_bytes()).fingerprint == who.fingerprint
    body = who.to_json()
    for wrong in ({**body, "kind": "gateway"}, {**body, "v": 2}, {**body, "identity": "x"}, {**body, "extra": 1}):
        with pytest.raises(InvalidError):
            Identity.from_json(wrong)

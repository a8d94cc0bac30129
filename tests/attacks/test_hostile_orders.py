"""Orders that a gateway should not have given: each is refused by site and key holder, or waits (RULES 33, 39)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel.canonical import Digest
from kernel.ids import DatasetId, PartyId, PopulationId, Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.order import Outcome
from privacy.homomorphic.documents.parties import Identity, Member, PartyKind, SiteMember
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind
from privacy.homomorphic.sealed import new_sealing_key, sealing_key_of
from privgate.agents.rules import Partners, Requests, Rules
from tests.support.consortium import Carrier, Consortium
from tests.support.hostile_gateways import Lying, played


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Three hospitals and a key holder."""
    return Consortium(tmp_path)


def test_an_order_that_changes_is_refused(consortium: Consortium) -> None:
    """The gateway signs whatever it likes; a party acts upon one order for a job."""
    carrier: Lying = consortium.carrier(Lying)
    consortium.play(carrier, turns=1)
    changed = consortium.order(round_seconds=601).signed(consortium.signer)
    carrier.lie = lambda _, place, data: changed if place.kind is DocumentKind.ORDER else data
    for party in consortium.everybody:
        consortium.turn(party, carrier)
    assert {consortium.why(party) for party in consortium.everybody} == {"another-order"}


def test_two_orders_for_two_parties_do_not_meet(consortium: Consortium) -> None:
    """One request for the key holder, another for the sites: the key is for the key holder's order."""
    other = consortium.order(round_seconds=601).signed(consortium.signer)
    sites = {site.party for site in consortium.sites}
    _, confined = played(
        consortium, lambda who, place, data: other if place.kind is DocumentKind.ORDER and who in sites else data
    )
    assert {consortium.why(site) for site in consortium.sites} == {"key"}
    assert confined.decrypted == []


def test_made_up_sites_are_refused(consortium: Consortium) -> None:
    """Two sites that give zeros, and one that is real: key holder and site both miss the identities."""
    real = consortium.member(consortium.sites[0])
    order = replace(consortium.order(), sites=(real, made_up("ghost-1"), made_up("ghost-2")))
    carrier = Carrier(order.signed(consortium.signer), consortium.job)
    consortium.turn(consortium.holder, carrier)
    consortium.turn(consortium.sites[0], carrier)
    assert consortium.why(consortium.holder) == "unpinned"
    assert consortium.why(consortium.sites[0]) == "unpinned"


def test_a_site_may_leave_the_other_sites_to_the_key_holder(consortium: Consortium) -> None:
    """By a rule of its own; the key holder then is the one who pinned them, and it still refuses made-up ones."""
    with consortium.sites[0].home(consortium.clock) as home:
        home.allow(Rules(outcomes=(Outcome.EXACT,), partners=Partners.KEY_HOLDER))
        for other in consortium.sites[1:]:
            home.distrust(PartyKind.SITE, other.who.name)
    assert consortium.play(consortium.carrier()) is not None


def made_up(name: str) -> SiteMember:
    """A site that nobody ever saw."""
    who = Identity(
        name=Slug(name),
        kind=PartyKind.SITE,
        identity=Ed25519Signer(os.urandom(32)).public_key,
        sealing=sealing_key_of(new_sealing_key(os.urandom)),
    )
    return SiteMember(
        member=Member(party=PartyId.new(os.urandom), who=who),
        dataset=DatasetId.new(os.urandom),
        population=PopulationId.new(os.urandom),
        weight=1,
        least_persons=5,
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"gateway": "another.example/audit"}, "another-order"),
        ({"profile_digest": Digest.of(b"weak")}, "profile"),
        ({"profile": Slug("bfv-512-toy")}, "profile"),
        ({"kind": Slug("he.secrets")}, "rules"),
        ({"outcome": Outcome.NOISED}, "rules"),
        ({"rounds_at_most": 500}, "rules"),
    ],
)
def test_an_order_beyond_what_agents_allow_is_refused(
    consortium: Consortium, changed: dict[str, Any], why: str
) -> None:
    """By every party, before there is a key."""
    carrier: Carrier = consortium.carrier(**changed)
    for party in consortium.everybody:
        consortium.turn(party, carrier)
    assert {consortium.why(party) for party in consortium.everybody} == {why}
    assert not [place for place in carrier.kept if place.kind is DocumentKind.KEY]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"plan": {"ridge": "1"}}, "rules"),
        ({"plan": {"family": "linear"}}, "rules"),
        ({"round_seconds": 601}, "another-order"),
        ({"spec": {"purpose": "marketing"}}, "another-order"),
    ],
    ids=["another-penalty", "another-family", "another-deadline", "another-purpose"],
)
def test_an_order_that_is_not_what_was_approved_is_refused(
    consortium: Consortium, changed: dict[str, Any], why: str
) -> None:
    """People approved a request, by its digest; what is computed is worked out from it again."""
    honest = consortium.order()
    altered = {
        name: {**getattr(honest, name), **value} if isinstance(value, dict) else value
        for name, value in changed.items()
    }
    order = replace(honest, **altered)
    carrier = Carrier(order.signed(consortium.signer), consortium.job)
    for party in consortium.everybody:
        consortium.turn(party, carrier)
    assert {consortium.why(party) for party in consortium.everybody} == {why}


def test_an_order_that_nobody_allowed_here_waits(consortium: Consortium) -> None:
    """A site that takes nobody's word for an approval: nothing is sent until its own people say yes."""
    site = consortium.sites[0]
    with site.home(consortium.clock) as home:
        home.allow(Rules(outcomes=(Outcome.EXACT,), requests=Requests.ALLOWED))
        home.allow_request(Digest.of(b"another request"))
    carrier: Carrier = consortium.carrier()
    assert consortium.play(carrier) is None
    assert (consortium.why(site), consortium.refused(carrier)) == (None, set())
    assert Place(consortium.job, DocumentKind.UPLOAD, 1, site.party) not in carrier.kept
    with site.home(consortium.clock) as home:
        home.allow_request(consortium.order().spec_digest)
    assert consortium.play(carrier) is not None


def test_an_order_of_another_gateway_key_is_refused(consortium: Consortium) -> None:
    """Whoever can reach the agents is not who may order."""
    carrier = Carrier(consortium.order().signed(Ed25519Signer(os.urandom(32))), consortium.job)
    for party in consortium.everybody:
        consortium.turn(party, carrier)
    assert {consortium.why(party) for party in consortium.everybody} == {"another-order"}


def test_a_declaration_that_differs_from_the_plan_is_declined(consortium: Consortium) -> None:
    """Bounds of another site would give the numbers another meaning."""
    plan = consortium.order().plan
    columns = [dict(column) for column in plan["schema"]["columns"]]
    columns[0]["high"] = "100"
    carrier: Carrier = consortium.carrier(plan={**plan, "schema": {"columns": columns}})
    consortium.play(carrier)
    assert {consortium.why(site) for site in consortium.sites} == {"data"}

"""Certificates of parties are renewed: by the agent itself while the present one is good, by its owner afterwards.

The gateway, its database and the agents' homes are real; the connection's TLS is left out, so that clocks can be moved
and agents killed at every point (`tests/unit/privgate/test_agents_channel.py` has the TLS).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from starlette.testclient import TestClient

from gateway.channel.app import create_channel
from gateway.services.collections.parties import disable_party, enrol_party
from gateway.services.collections.renewing import renew_party
from gateway.services.deciding import Caller
from kernel.canonical import Digest
from kernel.clock import ManualClock
from kernel.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from kernel.ids import PartyId, PrincipalId, Slug
from kernel.signing import Ed25519Signer
from policies.decisions import Deny
from privacy.homomorphic.documents.parties import PartyKind
from privacy.homomorphic.documents.renewal import Renewal
from privacy.sealing.durable import Point, no_point
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
from privgate.agents.channel import Access, HttpsChannel, RejectedError, UnknownPartyError
from privgate.agents.home import Enrolment, Home
from privgate.agents.renewing import RenewingChannel, certified, renewal_of
from privgate.agents.requesting import Term, certificate_request, new_tls_key
from tests.support.api import House, done, house, refused
from tests.support.parties import Channel, _Connected
from tests.support.parties import enrolled as let_in

START = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = 86_400


class Killed(BaseException):
    """The agent is gone."""


@dataclass
class Site:
    """An agent with a home at a gateway whose clock can be moved."""

    made: House
    clock: ManualClock
    path: Path
    key: KeyFile
    party: PartyId
    owner: Caller
    told: list[str]
    after: Callable[[str], None] = lambda _: None

    def home(self, point: Point = no_point) -> Home:
        """Open it."""
        return Home(self.path, self.key, os.urandom, self.clock, point)

    def connect(self, access: Access) -> HttpsChannel:
        """A connection whose client has that certificate."""
        return Wired(self, access)

    def look(self, point: Point = no_point) -> None:
        """One life of the agent: it looks at its certificate, reaches the gateway, and ends."""
        with self.home(point) as home, RenewingChannel(home, self.clock, self.told.append, self.connect) as channel:
            channel.work()

    def certificate(self) -> Digest:
        """The certificate that the agent has."""
        with self.home() as home:
            return Term.of(home.enrolment.certificate).digest

    def events(self) -> list[tuple[str, str]]:
        """What the log says of its certificates."""
        told = [e for e in self.made.log() if e["type"] in ("party:enrolled", "party:certified", "party:renewed")]
        return [(e["type"], e["fields"]["certificate"]) for e in told if e["fields"]["party"] == self.party]


class Wired(HttpsChannel):
    """The agent's own channel, over the gateway's app instead of a socket."""

    def __init__(self, site: Site, access: Access) -> None:
        read = x509.load_pem_x509_certificate(access.certificate.encode("ascii"))
        peer = str(Digest.of(read.public_bytes(serialization.Encoding.DER)))
        app = create_channel(site.made.client.app.state.privgate)  # type: ignore[attr-defined]  # a FastAPI app
        client = TestClient(_Connected(app, peer), base_url="https://gateway.test", raise_server_exceptions=False)
        self._patience, self._socket = 60.0, None
        self._client, self._after = client, site.after  # type: ignore[assignment]  # with the same methods

    def work(self) -> Any:
        """As it is; the answer may be lost."""
        found = super().work()
        self._after("work")
        return found

    def renew(self, data: bytes) -> str:
        """As it is; the answer may be lost."""
        found = super().renew(data)
        self._after("renew")
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, ManualClock]]:
    """A gateway with its people, and its clock."""
    clock = ManualClock(START)
    with house(tmp_path_factory.mktemp("renewed") / "home", clock=clock) as made:
        yield made, clock


@pytest.fixture
def site(running: tuple[House, ManualClock], tmp_path: Path) -> Site:
    """A site that was enrolled just now."""
    return enrolled(running, tmp_path / "site", f"site-{os.urandom(4).hex()}")


def enrolled(running: tuple[House, ManualClock], path: Path, name: str) -> Site:
    """A new agent, let in by `owner`."""
    made, clock = running
    key = KeyFile(SecretBytes(os.urandom(32)))
    who = Home.create(path, PartyKind.SITE, Slug(name), key, os.urandom)
    owner = Caller(made.tenant, PrincipalId(made["owner"].principal))
    with Home(path, key, os.urandom, clock) as home:
        answer = enrol_party(made.gateway.on, owner, who.to_json(), certificate_request(home.tls_key, who.name))
        assert not isinstance(answer, Deny)
        party = answer.record.id
        home.enrol(Enrolment(party=party, url="https://gateway.test", authority="", certificate=answer.certificate))
    return Site(made, clock, path, key, party, owner, [])


def test_an_agent_renews_when_less_than_a_third_is_left_and_not_before(site: Site) -> None:
    """Its identity and number stay, the key of its connections is another, and the former certificate is nobody's."""
    before = site.certificate()
    with site.home() as home:
        who, former = home.who, home.enrolment
        old_key = home.tls_key.reveal()
    site.clock.advance(243 * DAY)
    site.look()
    assert site.certificate() == before
    site.clock.advance(2 * DAY)
    site.look()
    after = site.certificate()
    assert after != before, site.told
    with site.home() as home:
        assert (home.who, home.enrolment.party, home.waiting) == (who, site.party, None)
        assert home.tls_key.reveal() != old_key
        assert [file.name for file in site.path.glob("tls*")] == ["tls-2.sealed"]
        assert Term.of(home.enrolment.certificate).ends > Term.of(former.certificate).ends
    assert site.events()[1:] == [("party:certified", after), ("party:renewed", after)]
    with pytest.raises(UnknownPartyError):
        site.connect(replace(site_access(site), certificate=former.certificate)).work()
    site.look()
    assert site.certificate() == after
    site.clock.advance(250 * DAY)
    site.look()
    assert len(site.events()) == 5
    assert [file.name for file in site.path.glob("tls*")] == ["tls-3.sealed"]


def site_access(site: Site) -> Access:
    """How the agent reaches the gateway now."""
    with site.home() as home:
        return home.access()


def test_both_certificates_are_good_until_the_new_one_is_used(site: Site) -> None:
    """An answer that was lost costs nothing: the same key is answered with the same certificate."""
    with site.home() as home:
        replaces = Term.of(home.enrolment.certificate).digest
        name, data = renewal_of(home, replaces)
        first = site.connect(home.access()).renew(data)
        again = site.connect(home.access()).renew(renewal_of(home, replaces)[1])
        assert first == again
        site.connect(home.access()).work()
        waiting = certified(home, name, first)
        site.connect(home.access(waiting)).work()
        with pytest.raises(UnknownPartyError):
            site.connect(home.access()).work()
    assert [event for event, _ in site.events()] == ["party:enrolled", "party:certified", "party:renewed"]


def test_a_renewal_that_was_sent_before_does_nothing(site: Site) -> None:
    """It names the certificate that it replaces, which is gone; another's name, key or signature is refused as well."""
    with site.home() as home:
        present = Term.of(home.enrolment.certificate).digest
        name, replayed = renewal_of(home, present)
        waiting = certified(home, name, site.connect(home.access()).renew(replayed))
        site.connect(home.access(waiting)).work()
        home.take_up()
        with pytest.raises(RejectedError):
            site.connect(home.access()).renew(replayed)
        present = Term.of(home.enrolment.certificate).digest
        signer = home.signer
    on, mine = site.made.gateway.on, certificate_request(new_tls_key(), Slug("somebody-else"))

    def asked(request: str, by: Ed25519Signer = signer, party: PartyId = site.party) -> bytes:
        return Renewal(party=party, request=request, replaces=present).signed(by)

    with pytest.raises(ConflictError):
        renew_party(on, site.owner, site.party, replayed)
    with pytest.raises(InvalidError):
        renew_party(on, site.owner, site.party, asked(mine))
    own = certificate_request(new_tls_key(), _name(site))
    with pytest.raises(InvalidError):
        renew_party(on, site.owner, site.party, asked(own, Ed25519Signer(os.urandom(32))))
    with pytest.raises(InvalidError):
        renew_party(on, site.owner, site.party, asked(own, party=PartyId.new(os.urandom)))
    with pytest.raises(InvalidError):
        renew_party(on, site.owner, site.party, b"{}")
    stranger = Caller(site.owner.tenant, PrincipalId(site.made["other-owner"].principal))
    with pytest.raises(NotFoundError):
        renew_party(on, stranger, site.party, asked(own))
    assert len(site.events()) == 3


def _name(site: Site) -> Slug:
    with site.home() as home:
        return home.who.name


def test_a_certificate_for_another_key_is_not_taken(site: Site) -> None:
    """A gateway that certifies a key of its own gets nothing for it."""
    with site.home() as home:
        stranger = site.made.gateway.on.parties.issue(certificate_request(new_tls_key(), home.who.name), site.party)
        with pytest.raises(InvalidError):
            certified(home, home.next_key()[0], stranger.pem)
        assert home.waiting is None


def test_an_ended_certificate_is_renewed_by_the_owner_alone(site: Site) -> None:
    """The agent says so; its owner's word gives the same identity another one, and the agent takes it up."""
    site.clock.advance(367 * DAY)
    with pytest.raises(UnavailableError, match="its owner signs in and renews it"):
        site.look()
    with site.home() as home:
        with pytest.raises(UnknownPartyError):
            site.connect(home.access()).work()
        who = home.who
        name, data = renewal_of(home, Term.of(home.enrolment.certificate).digest)
        pem = renew_party(site.made.gateway.on, site.owner, site.party, data)
        assert isinstance(pem, str)
        certified(home, name, pem)
    site.look()
    with site.home() as home:
        assert (home.who, home.enrolment.party, home.waiting) == (who, site.party, None)
    assert [event for event, _ in site.events()] == ["party:enrolled", "party:certified", "party:renewed"]


def test_a_party_that_was_disabled_renews_nothing(site: Site) -> None:
    """Neither over its own connection nor by its owner; nor does a certificate that waited count any more."""
    on = site.made.gateway.on
    with site.home() as home:
        name, data = renewal_of(home, Term.of(home.enrolment.certificate).digest)
        waiting = certified(home, name, site.connect(home.access()).renew(data))
        assert not isinstance(disable_party(on, site.owner, site.party), Deny)
        for access in (home.access(), home.access(waiting)):
            with pytest.raises(UnknownPartyError):
                site.connect(access).work()
            with pytest.raises(UnknownPartyError):
                site.connect(access).renew(data)
    with pytest.raises(ConflictError):
        renew_party(on, site.owner, site.party, data)
    with pytest.raises(UnknownPartyError):
        site.look()
    with site.home() as home:
        assert home.waiting is not None, "what waits is let go of only if the present certificate is good"


def test_an_owner_renews_over_http_with_his_token(tmp_path: Path) -> None:
    """The same renewal under the same key is answered once; the party's list shows until when it is good."""
    with house(tmp_path / "home") as made:
        agent = let_in(made, "owner", "north", PartyKind.SITE)
        path, body = f"/v1/parties/{agent.party}/certificate", {"renewal": agent.renewal().decode("ascii")}
        pem = done(made["owner"].post(path, body), 201)["certificate"]
        assert done(made["owner"].post(path, body), 201)["certificate"] == pem
        refused(made["other-owner"].post(path, body), 404)
        refused(made["trainer"].post(path, body), 403)
        refused(made["owner"].post(path, {"renewal": "x"}), 422)
        done(Channel(made).as_(replace(agent, certificate=pem)).get("/parties/v1/work"))
        refused(Channel(made).as_(agent).get("/parties/v1/work"), 401)
        (shown,) = done(made["owner"].get("/v1/parties"))
        assert shown["connection"] == replace(agent, certificate=pem).digest
        assert shown["connection_until"] > "2027"
        refused(made["owner"].post(path, body), 409)


@pytest.mark.parametrize("each", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_an_agent_that_is_killed_anywhere_in_a_renewal_goes_on(
    running: tuple[House, ManualClock], tmp_path: Path, each: int
) -> None:
    """At every point of its disk, and with every answer lost: it ends with one new certificate, by itself."""
    points: list[str] = []
    counting = enrolled(running, tmp_path / "counting", f"counting-{os.urandom(4).hex()}")
    counting.clock.advance(250 * DAY)
    counting.look(points.append)
    assert len(points) > 10
    kills: list[tuple[int | None, str]] = [(number, "") for number in range(1, len(points) + 1, each)]
    for at, lost in [*kills, (None, "renew"), (None, "work")]:
        one = enrolled(running, tmp_path / f"at-{at}-{lost}", f"killed-{os.urandom(4).hex()}")
        one.clock.advance(250 * DAY)
        with pytest.raises(Killed):
            killed(one, at, lost)
        one.look()
        one.look()
        events = one.events()
        assert [event for event, _ in events] == ["party:enrolled", "party:certified", "party:renewed"], (at, lost)
        assert one.certificate() == events[-1][1]
        with one.home() as home:
            assert home.waiting is None
        assert [file.name for file in one.path.glob("tls*")] == ["tls-2.sealed"], (at, lost)


def killed(one: Site, at: int | None, lost: str) -> None:
    """One life that ends at a point of the disk, or when an answer is on its way."""
    passed = 0

    def point(_: str) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            raise Killed

    def after(what: str) -> None:
        if what == lost:
            raise Killed

    one.after = after
    try:
        one.look(point)
    finally:
        one.after = lambda _: None

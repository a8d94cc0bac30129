"""Another certificate for an agent's connections, before the present one ends: asked for, tried, then taken.

Rules
-----
1. When less than a third of its life is left, once for each look at the gateway. Trouble with it stops no work as long
   as the present certificate is good.
2. The new key is on the disk, sealed, before it is asked for; the new certificate before it is used; and it takes the
   place of the present one only after the gateway was reached with it. Killed anywhere, the agent goes on: the present
   one is good until the new one was used, and the same key is answered with the same certificate.
3. One that has ended is renewed by its owner, who is signed in; identity and number stay.

Format: docs/formats/he-documents.md, "Renewal".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kernel.canonical import Digest
from kernel.clock import Clock, format_time
from kernel.errors import InvalidError, NotFoundError, PrivgateError, UnavailableError
from kernel.ids import DatasetId, JobId
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.renewal import Renewal
from privgate.agents.channel import Access, HttpsChannel, UnknownPartyError
from privgate.agents.home import Enrolment, Home
from privgate.agents.requesting import Term, certificate_request, is_for
from privgate.client import profiles
from privgate.client.http import Connection

Connect = Callable[[Access], HttpsChannel]


def renewal_of(home: Home, replaces: Digest) -> tuple[str, bytes]:
    """The name of the next key, and the signed renewal for it.

    Args:
        home: The agent's.
        replaces: The digest of the certificate that the gateway knows it by.
    """
    name, key = home.next_key()
    request = certificate_request(key, home.who.name)
    return name, Renewal(party=home.enrolment.party, request=request, replaces=replaces).signed(home.signer)


def certified(home: Home, name: str, certificate: str) -> Enrolment:
    """The enrolment with another certificate, kept until it is taken up.

    Raises:
        InvalidError: The certificate is not for the key that was drawn for it.
    """
    if not is_for(certificate, home.next_key()[1]):
        raise InvalidError("the gateway certified another key than this agent's", field="certificate")
    after = replace(home.enrolment, certificate=certificate, key=name)
    home.expect(after)
    return after


def renew_as_owner(home: Home, profile: str) -> Enrolment:
    """Renew with the owner's sign-in, whether the present certificate has ended or not.

    Args:
        home: The agent's.
        profile: The owner's sign-in.
    """
    party = home.enrolment.party
    with Connection(profiles.load(profile)) as connection:
        # What the gateway has, and not what a home that was restored from a backup believes.
        known = {one["party"]: one["connection"] for one in connection.get("/v1/parties")}
        if party not in known:
            raise NotFoundError("the gateway has no such party: enrol this agent", field="party")
        name, data = renewal_of(home, Digest(known[party]))
        answer = connection.post(f"/v1/parties/{party}/certificate", {"renewal": data.decode("ascii")})
    try:
        certificate = str(answer["certificate"])
    except (KeyError, TypeError):
        raise UnavailableError("the gateway's answer has no certificate") from None
    return certified(home, name, certificate)


class RenewingChannel:
    """A gateway at an address, reached with a certificate that is renewed in time.

    Args:
        home: The agent's, opened.
        clock: By which certificates end.
        tell: Sentences for the agent's people.
        connect: How a gateway is reached.
    """

    def __init__(self, home: Home, clock: Clock, tell: Callable[[str], None], connect: Connect = HttpsChannel) -> None:
        self._home, self._clock, self._tell, self._connect = home, clock, tell, connect
        self._inner: HttpsChannel | None = None

    def __enter__(self) -> RenewingChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def work(self) -> Sequence[JobId]:
        """The jobs that this party takes part in, after a look at its certificate."""
        self.look()
        return self._reached.work()

    def fetch(self, place: Place) -> bytes | None:
        """The document at a place, or nothing yet."""
        return self._reached.fetch(place)

    def post(self, place: Place, data: bytes) -> None:
        """Leave a document at its place."""
        self._reached.post(place, data)

    def attest(self, dataset: DatasetId, data: bytes) -> None:
        """Say which rows a dataset has."""
        self._reached.attest(dataset, data)

    def look(self) -> None:
        """Renew if it is time, and take up what waits; raise `UnavailableError` if the certificate has ended."""
        term = Term.of(self._home.enrolment.certificate)
        try:
            if self._home.waiting is None and term.is_due(self._clock.now()) and not term.has_ended(self._clock.now()):
                self._ask()
            if self._home.waiting is not None:
                self._take_up(self._home.waiting)
        except PrivgateError as error:
            self._tell(f"the certificate could not be renewed: {error.message}")
        term = Term.of(self._home.enrolment.certificate)
        if term.has_ended(self._clock.now()):
            raise UnavailableError(
                f"this agent's certificate ended at {format_time(term.ends)}: its owner signs in and renews it, `renew`"
            )

    @property
    def _reached(self) -> HttpsChannel:
        if self._inner is None:
            self._inner = self._connect(self._home.access())
        return self._inner

    def _ask(self) -> None:
        name, data = renewal_of(self._home, Term.of(self._home.enrolment.certificate).digest)
        certified(self._home, name, self._reached.renew(data))

    def _take_up(self, waiting: Enrolment) -> None:
        try:
            with self._connect(self._home.access(waiting)) as trial:
                trial.work()
        except UnknownPartyError:
            self._reached.work()  # only if the present one is good: the other one may be the one that is
            self._home.give_up()
            raise
        self._home.take_up()
        self._let_go()
        self._tell(f"the certificate was renewed: {format_time(Term.of(waiting.certificate).ends)}")

    def _let_go(self) -> None:
        if self._inner is not None:
            self._inner.close()
            self._inner = None

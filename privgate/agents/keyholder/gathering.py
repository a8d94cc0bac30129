"""What a round's decryption will be of: the sites' uploads, or the gateway's sum of them where the rules trust it.

Rules
-----
1. Every upload is fetched, verified against the pinned identity of its site and kept, before any is added (RULES 34).
   Where the gateway adds, the same is done with what each site signed over its upload, and the sum must name exactly
   these. That it is their sum nobody can see but the gateway.
2. What is added is fixed before the decryption begins; whatever the gateway then shows in its place is not looked at.
3. If a site does not answer in time, nothing is decrypted in that round, unless the order says that so many may be
   missing. The gateway has as long again for its sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.clock import Clock
from kernel.errors import PrivgateError
from kernel.ids import PartyId
from privacy.homomorphic.adding import open_sum
from privacy.homomorphic.documents.order import Aggregation, Order
from privacy.homomorphic.documents.parties import SiteMember
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Added, Round
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.documents.sums import GatewaySum
from privacy.homomorphic.envelope import Expected, Upload, open_upload, read_header
from privgate.agents.channel import Channel
from privgate.agents.course import Course
from privgate.agents.home import Home
from privgate.agents.papers import Papers
from privgate.agents.refusing import RefusalError, Why

ADDED_TAG = "party-added/v1"
_ADDED_LIMIT = 2**20


@dataclass(frozen=True, slots=True)
class Asked:
    """A round as it was asked: its documents, and when it was opened."""

    order: Order
    course: Course
    key: Parcel
    opened: Round
    since: datetime

    def expected(self, site: PartyId) -> Expected:
        """What a site's upload has to be."""
        return expected_upload(self.order, self.course, self.key.attachment, self.opened, site)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What will be decrypted.

    Attributes:
        added: The uploads, in the order of the order's sites.
        what: The digest that the log gets before the decryption begins.
        bodies: The ciphertexts of each upload, for who adds them; empty where the gateway added.
        total: The ciphertexts of the gateway's sum, where it added.
    """

    added: tuple[Added, ...]
    what: Digest
    bodies: tuple[bytes, ...] = ()
    total: bytes | None = None


class Gathering:
    """Fetches, judges and keeps what a round's decryption is of.

    Args:
        home, channel, clock: The agent's.
        papers: The job's.
    """

    def __init__(self, home: Home, channel: Channel, clock: Clock, papers: Papers) -> None:
        self._home, self._channel, self._clock, self._papers = home, channel, clock, papers

    def gathered(self, asked: Asked) -> Gathered | None:
        """All of it; nothing while something is awaited.

        Raises:
            RefusalError: Something is not what it has to be, or did not come in time.
        """
        if asked.order.aggregation is Aggregation.GATEWAY:
            return self._of_gateway(asked)
        return self._of_sites(asked)

    def _of_sites(self, asked: Asked) -> Gathered | None:
        order, number = asked.order, asked.opened.number
        fixed = self._papers.get(f"added-{number}")
        if fixed is None:
            present = [site for site in order.parties if self._fetched(asked, site)]
            if len(present) < len(order.sites) and not self._may_go_without(asked, len(present)):
                return None
        else:
            present = [PartyId(site) for site in canonical.decode(fixed, limit=_ADDED_LIMIT)]
        found = {}
        for site in present:
            data = self._papers.get(f"upload-{number}-{site}")
            if data is None:
                raise RefusalError(Why.UPLOAD, "a paper is gone")
            found[site] = self._judged(asked, site, data)
        if fixed is None:
            self._papers.put(f"added-{number}", canonical.encode(present))
        added = tuple(Added(site=site, upload=upload.digest) for site, (upload, _) in found.items())
        return Gathered(added, digest_of_added(added), bodies=tuple(body for _, body in found.values()))

    def _fetched(self, asked: Asked, site: PartyId) -> bool:
        """Whether a site's upload is here; what comes is judged before it is kept."""
        name = f"upload-{asked.opened.number}-{site}"
        if self._papers.get(name) is not None:
            return True
        data = self._channel.fetch(Place(asked.order.job, DocumentKind.UPLOAD, asked.opened.number, site))
        if data is None:
            return False
        self._judged(asked, site, data)
        self._papers.keep(name, data)
        return True

    def _judged(self, asked: Asked, site: PartyId, data: bytes) -> tuple[Upload, bytes]:
        member = asked.order.site(site)
        if member is None:
            raise RefusalError(Why.UPLOAD, "of nobody in the order")
        try:
            return open_upload(asked.expected(site), data, member.who.identity, self._home.sealing)
        except PrivgateError as error:
            raise RefusalError(Why.UPLOAD, error.message) from None

    def _may_go_without(self, asked: Asked, present: int) -> bool:
        """Whether the round is over and enough sites have answered; refuses if it is over and they have not."""
        if not self._is_over(asked, 1):
            return False
        if present < len(asked.order.sites) - asked.order.dropouts:
            raise RefusalError(Why.DEADLINE)
        return True

    def _is_over(self, asked: Asked, times: int) -> bool:
        return self._clock.now() >= asked.since + timedelta(seconds=times * asked.order.round_seconds)

    def _of_gateway(self, asked: Asked) -> Gathered | None:
        order, number = asked.order, asked.opened.number
        kept = self._papers.get(f"sum-{number}")
        data = kept or self._channel.fetch(Place(order.job, DocumentKind.SUM, number))
        uploads = None if data is None else self._headers(asked, self._named(order, data))
        if data is None or uploads is None:
            if self._is_over(asked, 2):
                raise RefusalError(Why.DEADLINE)
            return None
        try:
            keys = self._home.gateway.certificate_keys
            noise = asked.course.noise
            noised = noise is not None and noise.by_two
            total = open_sum(asked.expected(order.parties[0]), uploads, data, keys, noised=noised)
        except PrivgateError as error:
            raise RefusalError(Why.UPLOAD, error.message) from None
        self._papers.keep(f"sum-{number}", data)
        added = tuple(Added(site=upload.site, upload=upload.digest) for upload in uploads)
        return Gathered(added, GatewaySum.read(Parcel.from_bytes(data).document).digest, total=total)

    def _named(self, order: Order, data: bytes) -> list[SiteMember]:
        """The sites that a sum names: the order's, in its order, fewer by at most as many as may be missing."""
        try:
            document = Parcel.from_bytes(data).document
            made = GatewaySum.opened(document, self._home.gateway.certificate_keys)
        except PrivgateError as error:
            raise RefusalError(Why.UPLOAD, error.message) from None
        named = {one.site for one in made.added}
        found = [site for site in order.sites if site.party in named]
        if len(found) != len(named) or len(found) < len(order.sites) - order.dropouts:
            raise RefusalError(Why.UPLOAD, "a sum is of other sites, or of too few")
        return found

    def _headers(self, asked: Asked, sites: Sequence[SiteMember]) -> list[Upload] | None:
        """What each of these sites signed over its upload; nothing while one of them is not here."""
        found = []
        for site in sites:
            name = f"header-{asked.opened.number}-{site.party}"
            place = Place(asked.order.job, DocumentKind.HEADER, asked.opened.number, site.party)
            kept = self._papers.get(name)
            data = self._channel.fetch(place) if kept is None else kept
            if data is None:
                return None
            try:
                found.append(read_header(asked.expected(site.party), data, site.who.identity))
            except PrivgateError as error:
                raise RefusalError(Why.UPLOAD, error.message) from None
            self._papers.keep(name, data)
        return found


def expected_upload(order: Order, course: Course, public_key: bytes, opened: Round, site: PartyId) -> Expected:
    """What a site's upload has to be."""
    return Expected(
        job=order.job,
        order=order.digest,
        round=opened.digest,
        number=opened.number,
        key=Digest.of(public_key),
        participants=order.participants,
        site=site,
        layout=course.layout,
    )


def digest_of_added(added: tuple[Added, ...]) -> Digest:
    """What the log says is added."""
    return digest_of(ADDED_TAG, [one.to_json() for one in added])

"""A site at work: order, key, and for each round that follows from the one before, one upload.

Rules
-----
1. The key is taken once, from the pinned key holder, over the very order that is held (RULES 33).
2. A round is answered only if it names, as the one before, a result of the key holder's that adds exactly the uploads
   of the order's sites and this site's own by its digest: no round is left out, repeated or reordered, and no sum was
   decrypted that is another than the order says.
3. One upload for a round. It is kept before it is entered, entered before it is sent; an agent that was killed sends
   the same again and never a second one, whose noise would be drawn anew.
4. What an answer with noise costs is entered with it, before it is sent, and an order that no longer fits in what this
   site's own people allow is refused, whatever the gateway's ledger says.
5. Refusing for too few persons comes before encrypting, and looks like any other refusal (RULES 39).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import ClassVar, Protocol, Self, TypeVar

from kernel.canonical import Digest
from kernel.clock import Clock
from kernel.errors import CorruptError, PrivgateError
from kernel.signing import PublicKey
from privacy.homomorphic.blind.documents import BlindOrder
from privacy.homomorphic.documents.endings import Final
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Round, RoundResult
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.envelope import Expected, Upload, make_upload, read_upload
from privacy.homomorphic.sharing import encrypting_key
from privacy.homomorphic.validator import require_public_key
from privgate.agents.agent import Agent, Ordered, Told
from privgate.agents.blind_orders import accepted_blind, is_blind_order
from privgate.agents.channel import Channel
from privgate.agents.course import Course, require_hiding
from privgate.agents.courses import course_of, follows
from privgate.agents.deeds import Deed
from privgate.agents.home import Home
from privgate.agents.keyholder.gathering import expected_upload
from privgate.agents.orders import own_place, profile_for
from privgate.agents.papers import Papers
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.site.attesting import commitment
from privgate.agents.site.blind import BlindTraining
from privgate.agents.site.blind_steps import BlindSteps
from privgate.agents.site.computing import Computing
from privgate.agents.site.datasets import SiteDatasets
from privgate.agents.spending import cost_of, require_fitting


class _Signed(Protocol):
    """A document, or a round with its state."""

    KIND: ClassVar[DocumentKind]

    @classmethod
    def opened(cls, data: bytes, trusted: Iterable[PublicKey]) -> Self:
        """Read what one of the trusted keys signed."""
        ...


D = TypeVar("D", bound=_Signed)
_KEY = "key"


class Site(Agent):
    """Takes part in jobs with its own data.

    Args:
        home, channel, clock, tell: As of every agent.
        datasets: What it has.
        computing: Where sums are made and encrypted.
        steps: Where the steps of blind training are made.
    """

    def __init__(
        self,
        home: Home,
        channel: Channel,
        clock: Clock,
        tell: Told,
        datasets: SiteDatasets,
        computing: Computing | None = None,
        steps: BlindSteps | None = None,
    ) -> None:
        super().__init__(home, channel, clock, tell)
        self._datasets, self._computing = datasets, computing or Computing()
        self._blind = BlindTraining(home, channel, self._posting, datasets, steps or BlindSteps())

    def _accepted(self, data: bytes) -> Ordered:
        return accepted_blind(self._home, data) if is_blind_order(data) else super()._accepted(data)

    def _kept_order(self, data: bytes) -> Ordered:
        if is_blind_order(data):
            return BlindOrder.opened(data, self._home.gateway.certificate_keys)
        return super()._kept_order(data)

    def _go(self, order: Ordered, papers: Papers) -> None:
        if isinstance(order, BlindOrder):
            self._blind.advance(order, papers)
            self._require_awaited(order)
        else:
            self._advance(order, papers)

    def _require_awaited(self, order: BlindOrder) -> None:
        """Wait for no gradient without an end: its time and as long again, then the key is destroyed."""
        known = self._history(order.job)
        if known.key is None or known.ended or known.last is None:
            return
        if self._clock.now() >= known.last + timedelta(seconds=2 * order.round_seconds):
            raise RefusalError(Why.DEADLINE)

    def _leave(self, order: Ordered, papers: Papers) -> None:
        if isinstance(order, BlindOrder):
            self._blind.close(order, papers)
        else:
            self._close(order, papers)

    def _close(self, order: Order, papers: Papers) -> None:
        """Read the last result and the final: all that may come of what was answered."""
        if len(self._history(order.job).answered):
            self._follow(order, papers, begin=False)

    def _advance(self, order: Order, papers: Papers) -> None:
        self._follow(order, papers, begin=True)

    def _follow(self, order: Order, papers: Papers, *, begin: bool) -> None:
        """Go through the job as far as it goes; `begin` says whether a round that was not answered is answered."""
        own = own_place(self._home, order)
        self._datasets.for_order(order, own)
        course, history = course_of(order), self._home.log.history
        self._home.rules.require_noise(course.noise)
        require_hiding(order, course)
        if begin:
            known = history.of(order.job)
            require_fitting(self._home.rules, history, known, course, order.rounds_at_most, own.population)
        key = self._key(order, papers)
        if key is None:
            return
        previous = JobKey.opened(key.document, [order.key_holder.who.identity]).digest
        results: list[RoundResult] = []
        while len(results) < order.rounds_at_most:
            number = len(results) + 1
            asked = self._round(order, papers, number, previous)
            answered = number in self._history(order.job).answered
            if asked is None or not (begin or answered):
                break
            result = self._result(order, papers, asked, None) if order.dropouts and not answered else None
            if result is None:
                upload = self._answered(order, papers, course, key, asked)
                result = self._result(order, papers, asked, upload)
            if result is None:
                return
            results.append(result)
            previous = result.digest
        self._final(order, papers, results)

    def _ended(self, papers: Papers) -> None:
        """What was answered is kept; a key of blind training is destroyed."""
        self._blind.ended(papers)

    def _key(self, order: Order, papers: Papers) -> Parcel | None:
        """The job's key: taken once."""
        known = self._history(order.job).key
        data = papers.get(_KEY) if known is not None else self._channel.fetch(Place(order.job, DocumentKind.KEY))
        if data is None:
            return None
        parcel = Parcel.from_bytes(data)
        document = _signed(JobKey, parcel.document, order, Why.KEY)
        if not document.is_of(order):
            raise RefusalError(Why.KEY, "it is for another order")
        try:
            public = parcel.attached(document.public_key)
            require_public_key(profile_for(order), public)
            self._encrypting_key(order, document, public)
        except CorruptError as error:
            raise RefusalError(Why.KEY, error.message) from None
        if known is None:
            papers.put(_KEY, data)
            self._home.log.append(Deed.KEY_ACCEPTED, order.job, what=document.public_key)
        elif known != document.public_key:
            raise RefusalError(Why.KEY, "another one was accepted")
        return parcel

    def _encrypting_key(self, order: Order, key: JobKey, public: bytes) -> bytes:
        """What this site encrypts with; under a seeded profile it is opened for each round and kept nowhere."""
        own = own_place(self._home, order).party
        return encrypting_key(key, order, profile_for(order), public, own, self._home.sealing)

    def _round(self, order: Order, papers: Papers, number: int, previous: Digest) -> Round | None:
        """A round that follows; nothing while it is awaited."""
        data = self._paper(papers, f"round-{number}", Place(order.job, DocumentKind.ROUND, number))
        if data is None:
            return None
        asked = _signed(Round, data, order, Why.CHAIN)
        if (asked.job, asked.order, asked.number, asked.previous) != (order.job, order.digest, number, previous):
            raise RefusalError(Why.CHAIN, f"round {number}")
        papers.keep(f"round-{number}", data)
        return asked

    def _answered(self, order: Order, papers: Papers, course: Course, key: Parcel, asked: Round) -> Upload:
        """Make, enter and send the upload of a round, as far as that was not done."""
        own, number = own_place(self._home, order), asked.number
        expected = expected_upload(order, course, key.attachment, asked, own.party)
        data = papers.get(f"upload-{number}")
        if data is None:
            if number in self._history(order.job).answered:
                raise RefusalError(Why.UPLOAD, "a paper is gone")
            if not follows(course, number, asked.state):
                raise RefusalError(Why.CHAIN, f"round {number} asks what is not its own")
            data = self._made(order, course, asked, expected, key)
            papers.keep(f"upload-{number}", data)
        upload = read_upload(expected, data, self._home.who.identity)
        if number not in self._history(order.job).answered:
            cost = cost_of(course, number, own.population)
            self._home.log.append(Deed.ANSWERED, order.job, number=number, what=upload.digest, cost=cost)
        if papers.get(f"result-{number}") is None:
            self._send(order, Place(order.job, DocumentKind.UPLOAD, number, own.party), data)
        return upload

    def _send(self, order: Order, place: Place, data: bytes) -> None:
        try:
            self._post(place, data)
        except RefusalError as refusal:
            if not order.dropouts or refusal.why is not Why.GATEWAY:
                raise
            self._tell(f"{order.job}: the upload of round {place.number} came too late")

    def _made(self, order: Order, course: Course, asked: Round, expected: Expected, key: Parcel) -> bytes:
        own = own_place(self._home, order)
        dataset = self._datasets.for_order(order, own)
        if commitment(dataset, self._home.commitment_key) != self._datasets.noted_rows(own.dataset):
            raise RefusalError(Why.DATA, "the file is not the one that was attested")
        document = _signed(JobKey, key.document, order, Why.KEY)
        encrypting = self._encrypting_key(order, document, key.attachment)
        body = self._computing.ciphertexts(order, own, dataset, course.layout, asked.state, encrypting)
        return make_upload(expected, body, self._home.signer, order.key_holder.who.sealing)

    def _result(self, order: Order, papers: Papers, asked: Round, upload: Upload | None) -> RoundResult | None:
        """What came of a round; nothing while it is awaited. Without an upload: of a round that went on without us."""
        name = f"result-{asked.number}"
        data = self._paper(papers, name, Place(order.job, DocumentKind.RESULT, asked.number))
        if data is None:
            return None
        result = _signed(RoundResult, data, order, Why.CHAIN)
        named = (result.job, result.order, result.number, result.round)
        if named != (order.job, order.digest, asked.number, asked.digest):
            raise RefusalError(Why.CHAIN, f"result {asked.number}")
        added = {one.site: one.upload for one in result.added}
        own, sent = own_place(self._home, order).party, None if upload is None else upload.digest
        left_out = own not in added and order.dropouts > 0
        if not _is_whole(order, result.sites) or not (left_out or (sent is not None and added.get(own) == sent)):
            raise RefusalError(Why.LEFT_OUT, f"round {asked.number}")
        papers.keep(name, data)
        return result

    def _final(self, order: Order, papers: Papers, results: Sequence[RoundResult]) -> None:
        """Note how the job ended, if it has."""
        data = self._channel.fetch(Place(order.job, DocumentKind.FINAL)) if results else None
        if data is None:
            return
        final = _signed(Final, Parcel.from_bytes(data).document, order, Why.CHAIN)
        always = [site for site in order.parties if all(site in result.sites for result in results)]
        named = (final.job, final.order, final.previous, final.rounds, list(final.sites))
        if named != (order.job, order.digest, results[-1].digest, len(results), always):
            raise RefusalError(Why.CHAIN, "the final")
        papers.put("final", data)
        self._home.log.append(Deed.FINISHED, order.job, what=final.digest)

    def _paper(self, papers: Papers, name: str, place: Place) -> bytes | None:
        kept = papers.get(name)
        return self._channel.fetch(place) if kept is None else kept


def _is_whole(order: Order, sites: Sequence[str]) -> bool:
    """Whether these are the order's sites in their order, fewer by at most as many as may be missing."""
    given = [site for site in order.parties if site in sites]
    return given == list(sites) and len(given) >= len(order.sites) - order.dropouts


def _signed(kind: type[D], data: bytes, order: Order, why: Why) -> D:
    """Read a document that the order's key holder signed; that one is pinned."""
    try:
        return kind.opened(data, [order.key_holder.who.identity])
    except PrivgateError:
        raise RefusalError(why, f"`{kind.KIND}` is not the key holder's") from None

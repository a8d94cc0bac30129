"""The key holder at work: key, round, uploads, one decryption, result, and again, until the course ends.

Rules
-----
1. What is added is gathered, judged and kept before a decryption begins, and entered in the log (`gathering`). Killed
   at any point, the agent goes on with exactly this.
2. A course draws and remembers before it is asked; a result is kept before it is sent. Where the key holder adds noise,
   it is drawn and kept before a decryption begins, so that the same sum never gets another; no sum leaves without it.
3. When a job has ended its secret key is destroyed, and the noise that was drawn here.
"""

from __future__ import annotations

from itertools import takewhile

from kernel import canonical
from kernel.canonical import Digest
from kernel.clock import Clock
from kernel.errors import CorruptError, PrivgateError
from kernel.ids import PartyId
from privacy.homomorphic.confined import Confined, FailedTaskError
from privacy.homomorphic.documents.endings import Final
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import MOST_ROUNDS, Order
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Added, LogHead, Round, RoundResult
from privacy.homomorphic.documents.signed import PARCEL_LIMIT, DocumentKind, Parcel
from privacy.homomorphic.noise import drawn, variances, with_noise
from privacy.homomorphic.sharing import job_key
from privgate.agents.agent import Agent, Told
from privgate.agents.channel import Channel
from privgate.agents.course import Course, Ended, require_hiding
from privgate.agents.courses import course_of
from privgate.agents.deeds import Deed
from privgate.agents.home import Home
from privgate.agents.keyholder.gathering import Asked, Gathered, Gathering
from privgate.agents.orders import profile_for
from privgate.agents.papers import Papers
from privgate.agents.refusing import RefusalError, Why

_SECRET, _KEY = "secret", "key"


class KeyHolder(Agent):
    """Holds the keys of the jobs it is ordered for.

    Args:
        home, channel, clock, tell: As of every agent.
        confined: Where keys are made and sums decrypted.
    """

    def __init__(
        self, home: Home, channel: Channel, clock: Clock, tell: Told, confined: Confined | None = None
    ) -> None:
        super().__init__(home, channel, clock, tell)
        self._confined = confined or Confined()

    def _advance(self, order: Order, papers: Papers) -> None:
        course = course_of(order)
        self._home.rules.require_noise(course.noise)
        require_hiding(order, course)
        key = self._key(order, papers)
        self._post(Place(order.job, DocumentKind.KEY), key.to_bytes())
        previous = JobKey.opened(key.document, [self._home.who.identity]).digest
        for number in range(1, order.rounds_at_most + 1):
            opened = self._round(order, papers, course, number, previous)
            result = self._result(order, papers, course, key, opened)
            if result is None:
                return
            self._post(Place(order.job, DocumentKind.RESULT, number), result.signed(self._home.signer))
            previous = result.digest
            if papers.get("artefact") is not None:
                self._finish(order, papers, result)
                return
        raise RefusalError(Why.RULES, "`rounds_at_most`")

    def _key(self, order: Order, papers: Papers) -> Parcel:
        """The job's key: made once."""
        kept = papers.get(_KEY)
        if kept is None:
            profile = profile_for(order)
            public, secret = self._confined.make_keys(profile)
            # Written anew until the public half is kept: nothing is encrypted under a key that nobody has seen.
            papers.put(_SECRET, self._home.vault.seal(secret.reveal(), kind=_SECRET, job=order.job))
            kept = Parcel(job_key(order, profile, public, secret).signed(self._home.signer), public).to_bytes()
            secret.wipe()
            papers.keep(_KEY, kept)
        parcel = Parcel.from_bytes(kept)
        if self._history(order.job).key is None:
            self._home.log.append(Deed.KEY_MADE, order.job, what=Digest.of(parcel.attachment))
        return parcel

    def _round(self, order: Order, papers: Papers, course: Course, number: int, previous: Digest) -> Round:
        """Open a round, or read back the one that was opened."""
        name = f"round-{number}"
        kept = papers.get(name)
        if kept is None:
            state = course.asked(self._memory(order, papers, course, number))
            made = Round(job=order.job, order=order.digest, number=number, previous=previous, state=state)
            kept = made.signed(self._home.signer)
            papers.keep(name, kept)
        opened = Round.opened(kept, [self._home.who.identity])
        if number not in self._history(order.job).opened:
            self._home.log.append(Deed.ROUND_OPENED, order.job, number=number, what=opened.digest)
        self._post(Place(order.job, DocumentKind.ROUND, number), kept)
        return opened

    def _result(self, order: Order, papers: Papers, course: Course, key: Parcel, opened: Round) -> RoundResult | None:
        """What the round's decryption gave; nothing while uploads are awaited."""
        kept = papers.get(f"result-{opened.number}")
        if kept is not None:
            return RoundResult.opened(kept, [self._home.who.identity])
        since = self._history(order.job).opened[opened.number][1]
        asked = Asked(order, course, key, opened, since)
        gathered = Gathering(self._home, self._channel, self._clock, papers).gathered(asked)
        return None if gathered is None else self._decrypted(order, papers, course, opened, gathered)

    def _decrypted(
        self, order: Order, papers: Papers, course: Course, opened: Round, gathered: Gathered
    ) -> RoundResult:
        number, added = opened.number, gathered.added
        own = self._own_noise(order, papers, course, number)
        self._home.log.append(Deed.DECRYPTING, order.job, number=number, what=gathered.what)
        memory = self._memory(order, papers, course, number)
        sums = self._sums(order, papers, course, gathered)
        if own is not None:
            sums = with_noise(sums, own, course.layout.limit)
        try:
            following = course.advance(memory, sums, len(added))
        except (PrivgateError, ArithmeticError):
            # Whatever is wrong with them, the same sums come of the same uploads: they are not decrypted again.
            raise RefusalError(Why.RESULT) from None
        head = self._home.log.append(Deed.DECRYPTED, order.job, number=number, learned=course.layout.values)
        if isinstance(following, Ended):
            papers.put("artefact", self._home.vault.seal(following.artefact, kind="artefact", job=order.job))
        else:
            self._remember(order, papers, number + 1, following.memory)
        return self._keep_result(order, papers, opened, added, head, course.layout.values)

    def _own_noise(self, order: Order, papers: Papers, course: Course, number: int) -> list[int] | None:
        """This agent's own noise for a round, where it adds any: drawn once, and kept before anything is decrypted."""
        noise, name = course.noise, f"noise-{number}"
        if noise is None or not noise.by_two:
            return None
        sealed = papers.get(name)
        if sealed is None:
            found = drawn(variances(course.additions(number), noise), course.layout.values)
            written = canonical.encode([str(one) for one in found])
            sealed = self._home.vault.seal(written, kind="noise", job=order.job, round=str(number))
            papers.put(name, sealed)
            return found
        kept = self._home.vault.open(sealed, kind="noise", job=order.job, round=str(number)).reveal()
        return [int(one) for one in canonical.decode(kept, limit=PARCEL_LIMIT)]

    def _sums(self, order: Order, papers: Papers, course: Course, gathered: Gathered) -> list[int]:
        sealed = papers.get(_SECRET)
        if sealed is None:
            raise RefusalError(Why.KEY, "it was destroyed")
        with self._home.vault.open(sealed, kind=_SECRET, job=order.job) as secret:
            try:
                if gathered.total is not None:
                    return self._confined.decrypt_sum(course.layout, secret, gathered.total)
                return self._confined.decrypt(course.layout, secret, gathered.bodies)
            except (FailedTaskError, CorruptError):
                raise RefusalError(Why.RESULT) from None

    def _keep_result(
        self, order: Order, papers: Papers, opened: Round, added: tuple[Added, ...], head: LogHead, learned: int
    ) -> RoundResult:
        result = RoundResult(
            job=order.job,
            order=order.digest,
            number=opened.number,
            round=opened.digest,
            added=added,
            learned=learned,
            decryptions=self._history(order.job).decryptions,
            log=head,
        )
        papers.keep(f"result-{opened.number}", result.signed(self._home.signer))
        return result

    def _always(self, order: Order, papers: Papers, rounds: int) -> tuple[PartyId, ...]:
        """The sites whose uploads were added in every round."""
        kept = [papers.get(f"result-{number}") or b"" for number in range(1, rounds + 1)]
        added = [RoundResult.opened(data, [self._home.who.identity]).sites for data in kept]
        return tuple(site for site in order.parties if all(site in sites for sites in added))

    def _finish(self, order: Order, papers: Papers, last: RoundResult) -> None:
        sealed = papers.get("artefact") or b""
        artefact = self._home.vault.open(sealed, kind="artefact", job=order.job).reveal()
        final = Final(
            job=order.job,
            order=order.digest,
            previous=last.digest,
            rounds=last.number,
            decryptions=last.decryptions,
            sites=self._always(order, papers, last.number),
            artefact=Digest.of(artefact),
        )
        parcel = Parcel(final.signed(self._home.signer), artefact).to_bytes()
        self._post(Place(order.job, DocumentKind.FINAL), parcel)
        self._home.log.append(Deed.FINISHED, order.job, what=final.digest)
        self._ended(papers)

    def _close(self, order: Order, papers: Papers) -> None:
        """If everything was decrypted, say so again: killed between two documents, the last one may be missing."""
        if papers.get("artefact") is not None:
            self._advance(order, papers)

    def _ended(self, papers: Papers) -> None:
        papers.drop(_SECRET)
        drawn_for = takewhile(lambda number: papers.get(f"noise-{number}") is not None, range(1, MOST_ROUNDS + 1))
        # The last one first: killed in between, the next start still finds all that are left.
        for number in reversed(list(drawn_for)):
            papers.drop(f"noise-{number}")

    def _memory(self, order: Order, papers: Papers, course: Course, number: int) -> bytes:
        sealed = papers.get(f"memory-{number}")
        if sealed is None and number == 1:
            # Kept before the round is: what a course draws is drawn once, and the sum is added to what was asked at.
            self._remember(order, papers, number, course.first())
            sealed = papers.get(f"memory-{number}")
        if sealed is None:
            raise RefusalError(Why.CHAIN, "a paper is gone")
        return self._home.vault.open(sealed, kind="memory", job=order.job, round=str(number)).reveal()

    def _remember(self, order: Order, papers: Papers, number: int, memory: bytes) -> None:
        sealed = self._home.vault.seal(memory, kind="memory", job=order.job, round=str(number))
        papers.put(f"memory-{number}", sealed)

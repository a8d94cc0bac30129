"""What sites and key holders have in common: one poll after the other, one job after the other, refusing in one way.

Rules
-----
1. A refusal is entered in the log first, then said to the gateway in one word; it is for good.
2. A gateway that cannot be reached, or answers with nonsense, costs a poll. It is never a reason to do something twice.
   One that says that it will never take a document ends the job: what cannot come about is not waited for.
3. Trouble in one job does not stop the others.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from kernel.canonical import Digest
from kernel.clock import Clock
from kernel.errors import ConflictError, PrivgateError, TooLargeError, UnavailableError
from kernel.ids import JobId
from privacy.homomorphic.blind.documents import BlindOrder
from privacy.homomorphic.documents.endings import Refusal
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind
from privgate.agents.channel import Channel, RejectedError
from privgate.agents.deeds import Deed, JobHistory
from privgate.agents.home import Home
from privgate.agents.orders import accepted
from privgate.agents.papers import Papers
from privgate.agents.posting import Posting
from privgate.agents.refusing import RefusalError, Why

Ordered: TypeAlias = Order | BlindOrder
Told = Callable[[str], None]
"""Where sentences for the agent's own people go."""
_NO_ORDER = Digest.of(b"no order was accepted")


class Agent(ABC):
    """One party at work.

    Args:
        home: Opened.
        channel: To the gateway.
        clock: For deadlines.
        tell: Sentences for its people.
    """

    def __init__(self, home: Home, channel: Channel, clock: Clock, tell: Told) -> None:
        self._home, self._channel, self._clock, self._tell = home, channel, clock, tell
        self._posting = Posting(channel)
        self._said: set[Place] = set()
        self._is_swept = False

    def poll(self) -> bool:
        """Go through all work once; whether the gateway could be reached."""
        self._sweep()
        try:
            jobs = self._channel.work()
        except (UnavailableError, TooLargeError, RejectedError) as error:
            self._tell(error.message)
            return False
        reached = [self._one(job) for job in jobs]
        reached += [self._unshown(job) for job in self._home.log.history.going() if job not in jobs]
        return all(reached)

    def run(self, stop: threading.Event, seconds: float) -> None:
        """Poll until told to stop."""
        while not stop.is_set():
            self.poll()
            stop.wait(seconds)

    def _accepted(self, data: bytes) -> Ordered:
        """The order that the gateway shows, if this agent may act upon it."""
        return accepted(self._home, data)

    def _kept_order(self, data: bytes) -> Ordered:
        """An order that was accepted before."""
        return Order.opened(data, self._home.gateway.certificate_keys)

    def _go(self, order: Ordered, papers: Papers) -> None:
        """Do what can be done in a job, whatever its kind."""
        if isinstance(order, BlindOrder):
            raise RefusalError(Why.NOT_OURS)
        self._advance(order, papers)

    def _leave(self, order: Ordered, papers: Papers) -> None:
        """Do what is left to do in a job that the gateway no longer lists, whatever its kind."""
        if isinstance(order, Order):
            self._close(order, papers)

    @abstractmethod
    def _advance(self, order: Order, papers: Papers) -> None:
        """Do what can be done in a job; raise `RefusalError` if it must not go on."""

    @abstractmethod
    def _close(self, order: Order, papers: Papers) -> None:
        """Do what is left to do in a job that the gateway no longer lists, without beginning anything."""

    @abstractmethod
    def _ended(self, papers: Papers) -> None:
        """Clean up after a job that has ended."""

    def _sweep(self) -> None:
        """Clean up, once in the life of a process, after jobs whose end was entered by one that was killed then."""
        if not self._is_swept:
            for job, known in self._home.log.history.jobs.items():
                if known.ended:
                    self._ended(self._home.papers_of(job))
            self._is_swept = True

    def _one(self, job: JobId) -> bool:
        known = self._history(job)
        if known.ended:
            return self._say_refusal(job) if known.why is not None else True

        def act() -> None:
            order = self._order(job)
            if order is not None:
                self._go(order, self._home.papers_of(job))

        return self._guarded(job, act)

    def _unshown(self, job: JobId) -> bool:
        """A job that the gateway no longer lists: read how it ended; after the deadline let go of it."""

        def act() -> None:
            papers = self._home.papers_of(job)
            order = self._kept_order(papers.get("order") or b"")
            self._leave(order, papers)
            known = self._history(job)
            over = known.last is None or self._clock.now() >= known.last + timedelta(seconds=order.round_seconds)
            if over and not known.ended:
                raise RefusalError(Why.DEADLINE)

        return self._guarded(job, act)

    def _guarded(self, job: JobId, act: Callable[[], None]) -> bool:
        try:
            act()
        except RefusalError as refusal:
            self._refuse(job, refusal)
            return self._say_refusal(job)
        except RejectedError as error:
            self._refuse(job, RefusalError(Why.REJECTED, error.message))
            return self._say_refusal(job)
        except PrivgateError as error:
            # The gateway, the disk or the data: whatever it is, it may be mended, and the deadline ends it otherwise.
            self._tell(f"{job}: {error.message}")
            return False
        return True

    def _order(self, job: JobId) -> Ordered | None:
        """The order that was accepted, now or before; the gateway has to show that one each time."""
        shown = self._channel.fetch(Place(job, DocumentKind.ORDER))
        papers, known = self._home.papers_of(job), self._history(job)
        kept = papers.get("order")
        if shown is None:
            return None
        if known.order is not None and shown != kept:
            raise RefusalError(Why.ANOTHER_ORDER)
        order = self._accepted(shown)
        if order.job != job or (known.order is not None and known.order != order.digest):
            raise RefusalError(Why.ANOTHER_ORDER, "`job`")
        if known.order is None:
            # Not yet accepted: what a killed agent left behind counts for nothing.
            papers.put("order", shown)
            self._home.log.append(Deed.ORDER_ACCEPTED, job, what=order.digest, request=order.spec_digest)
        return order

    def _history(self, job: JobId) -> JobHistory:
        return self._home.log.history.of(job)

    def _post(self, place: Place, data: bytes) -> None:
        """Leave a document at its place, once in the life of this process."""
        self._posting.post(place, data)

    def _refuse(self, job: JobId, refusal: RefusalError) -> None:
        self._tell(f"{job}: refused: {refusal.message}")
        if not self._history(job).ended:
            self._home.log.append(Deed.REFUSED, job, why=refusal.why)
        self._ended(self._home.papers_of(job))

    def _say_refusal(self, job: JobId) -> bool:
        party = self._home.enrolment.party
        place = Place(job, DocumentKind.REFUSAL, party=party)
        said = Refusal(job=job, order=self._history(job).order or _NO_ORDER, party=party)
        if place not in self._said:
            try:
                self._channel.post(place, said.signed(self._home.signer))
            except (ConflictError, RejectedError):
                self._tell(f"{job}: the gateway does not take the refusal: the job has ended there")
            except PrivgateError as error:
                self._tell(f"{job}: {error.message}")
                return False
            self._said.add(place)
        return True

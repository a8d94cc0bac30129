"""What an agent did, and what it therefore must not do any more: the entries of its log and their fold.

Rules
-----
1. A deed is judged by the deeds before it, and refused if it contradicts them. Reading a log back judges each again, so
   that a log in which something happened twice does not verify.
2. One order and one key for a job. Rounds follow each other. One upload for a round.
3. A decryption is entered before it begins, with the digest of the uploads that are added. Begun again (an agent that
   was killed does not know how far it came), it has the same digest; and it counts again.
4. After `refused` or `finished` nothing more happens to a job.
5. What an answer with noise costs the people behind a dataset stands in its entry, and a request in that of each order
   accepted for it: what was spent, and which yes was used, follow from the log alone.

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum
from typing import Any, Final

from kernel.canonical import Digest, digest_of
from kernel.checks import positive, whole
from kernel.clock import format_time, parse_time
from kernel.errors import ConflictError, InvalidError
from kernel.events import Parameter
from kernel.ids import JobId, PopulationId
from privacy.homomorphic.documents.order import MOST_ROUNDS
from privacy.jobs.strict import members_of, one_of, text_of
from privgate.agents.refusing import Why

TAG = "party-log/v1"
_SUM: Final = Context(prec=60, rounding=ROUND_CEILING)


class Deed(StrEnum):
    """What an entry says was done."""

    ORDER_ACCEPTED = "order-accepted"
    KEY_MADE = "key-made"
    KEY_ACCEPTED = "key-accepted"
    ROUND_OPENED = "round-opened"
    ANSWERED = "answered"
    DECRYPTING = "decrypting"
    DECRYPTED = "decrypted"
    FINISHED = "finished"
    REFUSED = "refused"


_DIGEST_OF = {
    Deed.ORDER_ACCEPTED: "order",
    Deed.KEY_MADE: "public_key",
    Deed.KEY_ACCEPTED: "public_key",
    Deed.ROUND_OPENED: "round",
    Deed.ANSWERED: "upload",
    Deed.DECRYPTING: "added",
    Deed.DECRYPTED: "",
    Deed.FINISHED: "final",
    Deed.REFUSED: "",
}
_NUMBERED = frozenset({Deed.ROUND_OPENED, Deed.ANSWERED, Deed.DECRYPTING, Deed.DECRYPTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an answer with noise costs.

    Attributes:
        population: Whom.
        rho: In zero-concentrated differential privacy.
    """

    population: PopulationId
    rho: Parameter

    def __post_init__(self) -> None:
        positive(rho=self.rho.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry.

    Attributes:
        size: How long the log is with it.
        previous: Digest of the entry before; of the first one, of the agent's identity.
        at: When, by the agent's clock.
        deed, job: What was done, in which job.
        number: The round, for deeds of a round; otherwise 0.
        what: The digest of what it is about, where there is one: order, public key, round, upload, set of uploads or
            final.
        learned: How many numbers a decryption gave.
        why: Why it was refused.
        request: Which request an order is for.
        cost: What an answer costs, if it has noise.
    """

    size: int
    previous: Digest
    at: datetime
    deed: Deed
    job: JobId
    number: int = 0
    what: Digest | None = None
    learned: int = 0
    why: Why | None = None
    request: Digest | None = None
    cost: Cost | None = None

    def __post_init__(self) -> None:
        whole(1, 2**53 - 1, size=self.size)
        whole(0, MOST_ROUNDS, number=self.number)
        fits = (
            (self.number > 0) == (self.deed in _NUMBERED)
            and (self.what is not None) == bool(_DIGEST_OF[self.deed])
            and (self.learned > 0) == (self.deed is Deed.DECRYPTED)
            and (self.why is not None) == (self.deed is Deed.REFUSED)
            and (self.request is None or self.deed is Deed.ORDER_ACCEPTED)
            and (self.cost is None or self.deed is Deed.ANSWERED)
        )
        if not fits:
            raise InvalidError("an entry has other members than its deed has", field="deed")

    @property
    def digest(self) -> Digest:
        """What the next entry names."""
        return digest_of(TAG, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        body: dict[str, Any] = {
            "at": format_time(self.at),
            "deed": self.deed.value,
            "job": self.job,
            "previous": self.previous,
            "size": self.size,
            "v": 1,
        }
        optional = {
            "number": self.number or None,
            "what": self.what,
            "learned": self.learned or None,
            "why": None if self.why is None else self.why.value,
            "request": self.request,
            "population": None if self.cost is None else self.cost.population,
            "rho": None if self.cost is None else str(self.cost.rho),
        }
        return body | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def from_json(cls, body: Any) -> Entry:
        """Read strictly; raise `InvalidError` otherwise."""
        needed = ("at", "deed", "job", "previous", "size", "v")
        optional = ("learned", "number", "population", "request", "rho", "what", "why")
        members = members_of(body, "entry", needed, optional)
        whole(1, 1, v=members["v"])
        what, why, request = (members.get(name) for name in ("what", "why", "request"))
        return cls(
            size=members["size"],
            previous=Digest(members["previous"]),
            at=parse_time(members["at"], "at"),
            deed=one_of(Deed, members["deed"], "deed"),
            job=JobId(members["job"]),
            number=members.get("number", 0),
            what=None if what is None else Digest(what),
            learned=members.get("learned", 0),
            why=None if why is None else one_of(Why, why, "why"),
            request=None if request is None else Digest(request),
            cost=_cost_of(members),
        )


def _cost_of(members: Mapping[str, Any]) -> Cost | None:
    given = [name for name in ("population", "rho") if name in members]
    if not given:
        return None
    if len(given) == 1:
        raise InvalidError("`population` and `rho` go together", field=given[0])
    return Cost(
        population=PopulationId(members["population"]),
        rho=Parameter.of(text_of(members["rho"], "rho"), "rho"),
    )


@dataclass(slots=True)
class JobHistory:
    """What happened in one job.

    Attributes:
        order, key: Their digests.
        opened: Rounds that were opened here: digest and when.
        answered: Uploads that were made here.
        begun: For each round, which set of uploads its decryption was begun over.
        decryptions: How often one was begun.
        done: Rounds that were decrypted.
        last: When something was done last.
        ended: Whether it is over.
        why: Why it was refused.
        turn: The how-manieth order for its request it is, from 1; 0 for none.
    """

    order: Digest | None = None
    key: Digest | None = None
    opened: dict[int, tuple[Digest, datetime]] = field(default_factory=dict)
    answered: dict[int, Digest] = field(default_factory=dict)
    begun: dict[int, Digest] = field(default_factory=dict)
    decryptions: int = 0
    done: set[int] = field(default_factory=set)
    last: datetime | None = None
    ended: bool = False
    why: Why | None = None
    turn: int = 0

    def judge(self, entry: Entry) -> None:
        """Return if the deed follows; raise `ConflictError` otherwise."""
        if self.ended:
            raise ConflictError("nothing more happens to a job that has ended")
        if entry.deed is Deed.REFUSED:
            return
        if (self.order is None) != (entry.deed is Deed.ORDER_ACCEPTED):
            raise ConflictError("a job has one order, and it comes first")
        if not self._follows(entry):
            raise ConflictError(f"`{entry.deed}` does not follow from what was done: it would be done twice, or early")

    def _follows(self, entry: Entry) -> bool:
        number = entry.number
        match entry.deed:
            case Deed.KEY_MADE | Deed.KEY_ACCEPTED:
                return self.key is None
            case Deed.ROUND_OPENED:
                return self.key is not None and number == len(self.opened) + 1 == len(self.done) + 1
            case Deed.ANSWERED:
                # A round that ended without this site, where the order allows that, is not answered afterwards.
                return self.key is not None and number > max(self.answered, default=0)
            case Deed.DECRYPTING:
                return number == len(self.opened) and self.begun.get(number, entry.what) == entry.what
            case Deed.DECRYPTED:
                return number in self.begun and number == len(self.opened)
            case _:
                return True

    def take(self, entry: Entry) -> None:
        """Note a deed that was judged."""
        self.last = entry.at
        match entry.deed:
            case Deed.ORDER_ACCEPTED:
                self.order = entry.what
            case Deed.KEY_MADE | Deed.KEY_ACCEPTED:
                self.key = entry.what
            case Deed.ROUND_OPENED if entry.what is not None:
                self.opened[entry.number] = (entry.what, entry.at)
            case Deed.ANSWERED if entry.what is not None:
                self.answered[entry.number] = entry.what
            case Deed.DECRYPTING if entry.what is not None:
                self.begun[entry.number] = entry.what
                self.decryptions += 1
            case Deed.DECRYPTED:
                self.done.add(entry.number)
            case Deed.FINISHED | Deed.REFUSED:
                self.ended, self.why = True, entry.why


@dataclass(slots=True)
class History:
    """What happened in all jobs.

    Attributes:
        jobs: In each of them.
        spent: What answers with noise cost each population so far: rho, rounded up.
        asked: How many orders were accepted for each request.
    """

    jobs: dict[JobId, JobHistory] = field(default_factory=dict)
    spent: dict[PopulationId, Decimal] = field(default_factory=dict)
    asked: dict[Digest, int] = field(default_factory=dict)

    def of(self, job: JobId) -> JobHistory:
        """What happened in a job; nothing yet, if it is not known."""
        return self.jobs.get(job, JobHistory())

    def fold(self, entry: Entry) -> None:
        """Judge and note a deed; raise `ConflictError` if it contradicts those before, and note nothing."""
        known = self.jobs.get(entry.job, JobHistory())
        known.judge(entry)
        known.take(entry)
        self.jobs[entry.job] = known
        if entry.request is not None:
            known.turn = self.asked[entry.request] = self.asked.get(entry.request, 0) + 1
        if entry.cost is not None:
            population = entry.cost.population
            self.spent[population] = _SUM.add(self.spent.get(population, Decimal(0)), entry.cost.rho.number)

    def going(self) -> tuple[JobId, ...]:
        """The jobs that have not ended."""
        return tuple(job for job, known in self.jobs.items() if not known.ended)

    def counts(self) -> Mapping[str, int]:
        """What an overview shows."""
        found = self.jobs.values()
        return {
            "jobs": len(self.jobs),
            "refused": sum(job.why is not None for job in found),
            "rounds": sum(len(job.opened) or len(job.answered) for job in found),
            "decryptions": sum(job.decryptions for job in found),
        }

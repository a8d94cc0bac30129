"""Whether what an agent says it did holds together: its log by itself, and against the papers that others signed.

Rules
-----
1. The log is judged alone: signatures, chain, nothing twice.
2. The key holder's results name the head of its log after each decryption: every one that is kept here has to be an
   entry of that log, and every decryption that is entered as done has to have its result.
3. A site's uploads are those that the results it keeps have added.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import JobId
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.parties import Identity, PartyKind
from privacy.homomorphic.documents.rounds import RoundResult
from privacy.homomorphic.documents.signed import DocumentKind
from privgate.agents.deeds import History
from privgate.agents.home import identity_of
from privgate.agents.log import NAME, entries, verified
from privgate.agents.papers import Papers


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found in a log that verifies.

    Attributes:
        who: Whose it is.
        size, head: Its length, and the digest of its last entry.
        history: What happened.
        results: How many results were held against it.
    """

    who: Identity
    size: int
    head: Digest
    history: History
    results: int


def verify_home(path: Path) -> Verified:
    """Judge the log of a home and the results beside it, without opening its vault.

    Raises:
        CorruptError: Something contradicts.
        NotFoundError: Nobody lives there.
    """
    who = identity_of(path)
    data = (path / NAME).read_bytes() if (path / NAME).exists() else b""
    history, head = verified(data, who)
    heads = {entry.size: entry.digest for entry in entries(data, who.identity, who.fingerprint)}
    results = sum(_judged(path, who, history, job, heads) for job in history.jobs)
    return Verified(
        who=who,
        size=0 if head is None else head.size,
        head=who.fingerprint if head is None else head.head,
        history=history,
        results=results,
    )


def _judged(path: Path, who: Identity, history: History, job: JobId, heads: dict[int, Digest]) -> int:
    known, papers = history.of(job), Papers(path / "jobs" / job)
    found = [number for number in range(1, len(heads) + 1) if papers.get(f"{DocumentKind.RESULT}-{number}")]
    for number in found:
        result = _result(papers, who, number)
        if who.kind is PartyKind.KEYHOLDER:
            fits = heads.get(result.log.size) == result.log.head and number in known.done
        else:
            sent = known.answered.get(number)
            fits = sent is None or sent in {one.upload for one in result.added} or _may_be_missing(papers)
        if not fits:
            raise CorruptError(f"the result of round {number} of `{job}` is not what the log says")
    if who.kind is PartyKind.KEYHOLDER and not known.ended and len(known.done) > len(found) + 1:
        raise CorruptError(f"results of `{job}` are gone")
    return len(found)


def _may_be_missing(papers: Papers) -> bool:
    return Order.read(papers.get(DocumentKind.ORDER.value) or b"").dropouts > 0


def _result(papers: Papers, who: Identity, number: int) -> RoundResult:
    data = papers.get(f"{DocumentKind.RESULT}-{number}") or b""
    signer = who.identity
    if who.kind is PartyKind.SITE:
        order = papers.get(DocumentKind.ORDER.value) or b""
        signer = Order.read(order).key_holder.who.identity
    return RoundResult.opened(data, [signer])

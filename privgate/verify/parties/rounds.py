"""Step over everything that follows an order: key, rounds, uploads, results, final, refusals, and what came of them.

Rules
-----
1. Each document is signed by whose it is, is the one that the log names, and follows from those before it: order, key,
   round 1, its uploads, its result, round 2, and so on. A judge reads one kind (`JUDGES`).
2. One result for a round; each adds the uploads of the order's sites, once each. The key holder's count of decryptions
   grows with every round, and its own log never has two heads at one length.
3. What was concluded is what is held for release; every round that was opened was charged.
4. A round's state is worked out again where it follows from the order, or from the released file that lies here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from audit.findings import StepResult
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.ids import JobId, PartyId
from privacy.events.collections import (
    CollectionConcluded,
    KeyAnnounced,
    OrderIssued,
    PartyDeclined,
    PartyEnrolled,
    RoundDecrypted,
    RoundOpened,
    SiteAttested,
    SumMade,
    UploadReceived,
)
from privacy.homomorphic.documents.citing import FOLDER
from privacy.homomorphic.documents.endings import Final as Concluding
from privacy.homomorphic.documents.endings import Refusal
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.documents.rounds import Added, RoundHeader, RoundResult
from privacy.homomorphic.documents.sums import GatewaySum
from privacy.homomorphic.envelope import Expected, Upload
from privacy.homomorphic.noise import NoiseBy
from privacy.release.noised import NoisedPredicate
from privgate.verify.history import History, HistoryFindings
from privgate.verify.parties.blind import blind_jobs
from privgate.verify.parties.case import Case
from privgate.verify.parties.endings import certified_problems, ending_problems
from privgate.verify.parties.files import PartyFiles
from privgate.verify.parties.states import state_problems

_ELSEWHERE: Final = (PartyEnrolled, SiteAttested, OrderIssued)
"""What other steps judge."""
Judge: TypeAlias = Callable[[Case, Any, bytes], Iterator[str]]
Artifacts: TypeAlias = Mapping[JobId, bytes]


def check_rounds(
    history: History,
    files: PartyFiles,
    cases: Mapping[JobId, Case],
    artifacts: Artifacts,
    certified: Mapping[JobId, NoisedPredicate],
) -> StepResult:
    """Judge every document after the orders, then what the jobs came to.

    Args:
        history: The log.
        files: The documents.
        cases: The jobs whose order was read.
        artifacts: Released files that lie here and are those of their certificates, by job.
        certified: What certificates of noised results state, by job.
    """
    findings, heads, judged = HistoryFindings("Rounds", history), _Heads(), 0
    elsewhere = blind_jobs(history)
    for entered, found in files.cited:
        event = entered.event
        judge = JUDGES.get(type(event))
        if isinstance(event, _ELSEWHERE) or getattr(event, "job", None) in elsewhere:
            continue
        data = files.read(entered, found, findings)
        case = cases.get(event.job)  # type: ignore[union-attr]  # every event that has a judge is a job's
        if data is None:
            continue
        if case is None or judge is None:
            findings.unclear(found.file, "its order could not be read, so nothing says what it must be", entered.index)
            continue
        judged += 1
        for problem in (*_guarded(judge, case, event, data), *heads.problems(case, event)):
            findings.wrong(found.file, problem, entered.index)
    for job, case in cases.items():
        told = (*ending_problems(case, history), *certified_problems(case, certified.get(job)))
        for problem in (*told, *state_problems(case, artifacts.get(job))):
            findings.wrong(f"{FOLDER}/{job}", problem)
    for name in files.surplus():
        findings.wrong(name, "the log cites no such document")
    return findings.result(_said(cases, judged, artifacts))


def _said(cases: Mapping[JobId, Case], judged: int, artifacts: Artifacts) -> str:
    rounds = sum(len(case.results) for case in cases.values())
    begun = sum(max((r.decryptions for r in case.results.values()), default=0) for case in cases.values())
    states = sum(job in artifacts for job in cases)
    return (
        f"{judged} documents of {len(cases)} jobs, each signed by whose it is and following from those before; "
        f"{begun} decryptions begun for {rounds} rounds; {states} released files held against them"
    )


def _guarded(judge: Judge, case: Case, event: Any, data: bytes) -> list[str]:
    try:
        return list(judge(case, event, data))
    except PrivgateError as error:
        return [f"it is no such document, or not signed by whose it must be: {error.message}"]


def _key(case: Case, event: KeyAnnounced, data: bytes) -> Iterator[str]:
    made = JobKey.opened(data, case.holder)
    if (made.digest, made.public_key) != (event.key, event.public_key):
        yield "it is not the key that the log announced"
    if not made.is_of(case.order) or bool(made.sealed) != case.is_seeded:
        yield "it is a key for another job, order, profile or set of sites"
    if case.key is not None:
        yield "a job has a second key"
    case.key = made


def _round(case: Case, event: RoundOpened, data: bytes) -> Iterator[str]:
    order, made = case.order, RoundHeader.opened(data, case.holder)
    if (made.digest, made.number) != (event.round, event.number):
        yield "it is not the round that the log opened"
    if (made.job, made.order) != (order.job, order.digest):
        yield "it is a round of another job or order"
    if made.number != len(case.rounds) + 1 or made.number > order.rounds_at_most:
        yield "rounds were left out, repeated, or more than the order allows"
    before = case.key if made.number == 1 else case.results.get(made.number - 1)
    if before is None or made.previous != before.digest:
        yield "it does not follow from the key, or from the result before it"
    case.rounds[made.number] = made


def _upload(case: Case, event: UploadReceived, data: bytes) -> Iterator[str]:
    order, opened = case.order, case.rounds.get(event.number)
    if order.site(event.party) is None:
        yield "it is an upload of nobody in the order"
        return
    made = Upload.opened(data, case.keys_of(event.party))
    if made.digest != event.upload:
        yield "it is not the upload that the log received"
    if opened is None or case.key is None:
        yield "it answers a round that was not opened"
        return
    expected = Expected(
        job=order.job,
        order=order.digest,
        round=opened.digest,
        number=event.number,
        key=case.key.public_key,
        participants=order.participants,
        site=event.party,
        layout=case.layout,
    )
    if made != expected.upload(made.body):
        yield "it is for another job, round, key, profile, layout or set of sites, or of another site"
    if (event.number, event.party) in case.uploads:
        yield "a site has a second upload in a round"
    case.uploads[event.number, event.party] = made


def _sum(case: Case, event: SumMade, data: bytes) -> Iterator[str]:
    order, opened = case.order, case.rounds.get(event.number)
    made = GatewaySum.opened(data, case.gateway) if case.gateway else GatewaySum.read(data)
    if (made.digest, made.number, len(made.added)) != (event.sum, event.number, event.sites):
        yield "it is not the sum that the log tells"
    if order.aggregation is not Aggregation.GATEWAY:
        yield "the gateway added, and its owners did not trust it with that"
    if made.noised != (order.spec.get("noise_by") == NoiseBy.GATEWAY_AND_KEY_HOLDER.value):
        yield "the gateway added noise that nobody asked for, or none where it was to add it"
    named = (made.job, made.order, made.layout)
    if opened is None or case.key is None or named != (order.job, order.digest, case.layout.digest):
        yield "it is a sum of another job, order or layout"
    elif (made.round, made.key) != (opened.digest, case.key.public_key):
        yield "it is a sum of another round, or under another key"
    if made.number in case.sums:
        yield "a round has a second sum"
    yield from _added_problems(case, made.number, made.added)
    case.sums[made.number] = made


def _result(case: Case, event: RoundDecrypted, data: bytes) -> Iterator[str]:
    order, made = case.order, RoundResult.opened(data, case.holder)
    told = (event.result, event.number, event.sites, event.learned, event.decryptions)
    if told != (made.digest, made.number, len(made.added), made.learned, made.decryptions):
        yield "it is not the result that the log tells: another digest, round, number of sites, numbers or decryptions"
    opened = case.rounds.get(made.number)
    if opened is None or (made.job, made.order, made.round) != (order.job, order.digest, opened.digest):
        yield "it is a result of another job, order or round"
    if made.number in case.results or made.number != len(case.rounds):
        yield "a round has a second result, or one out of turn"
    yield from _added_problems(case, made.number, made.added)
    summed = case.sums.get(made.number)
    if order.aggregation is Aggregation.GATEWAY and (summed is None or summed.added != made.added):
        yield "it adds other uploads than the gateway said it added"
    if made.learned != case.layout.values:
        yield "the key holder read more or fewer numbers than the plan has"
    before = case.results.get(made.number - 1)
    if made.decryptions <= (0 if before is None else before.decryptions):
        yield "the key holder's count of decryptions did not grow"
    case.results[made.number] = made


def _added_problems(case: Case, number: int, added: Sequence[Added]) -> Iterator[str]:
    order, named = case.order, [one.site for one in added]
    if named != [site for site in order.parties if site in named] or len(named) < len(order.sites) - order.dropouts:
        yield "it adds other sites than the order's, or too few of them"
    for one in added:
        sent = case.uploads.get((number, one.site))
        if sent is None or sent.digest != one.upload:
            yield "it adds an upload that its site did not send for this round"


def _final(case: Case, event: CollectionConcluded, data: bytes) -> Iterator[str]:
    order, made = case.order, Concluding.opened(data, case.holder)
    told = (event.final, event.artifact, event.rounds, event.decryptions)
    if told != (made.digest, made.artefact, made.rounds, made.decryptions):
        yield "it is not the final that the log tells: another digest, artefact, number of rounds or decryptions"
    last = case.results.get(made.rounds)
    if last is None or len(case.results) != made.rounds or len(case.rounds) != made.rounds:
        yield "rounds or results are missing before it, or are too many"
        return
    if (made.job, made.order, made.previous) != (order.job, order.digest, last.digest):
        yield "it does not follow from the last result, or is of another job or order"
    always = [site for site in order.parties if all(site in result.sites for result in case.results.values())]
    if (list(made.sites), made.decryptions) != (always, last.decryptions):
        yield "it tells other sites, or another count of decryptions, than the results"
    if case.final is not None:
        yield "a job has a second final"
    case.final = made


def _refusal(case: Case, event: PartyDeclined, data: bytes) -> Iterator[str]:
    made = Refusal.opened(data, case.keys_of(event.party))
    if (made.job, made.party) != (event.job, event.party):  # an order that was not believed is not named
        yield "it is a refusal of another job or party"


class _Heads:
    """The key holders' own logs, as far as results name them: one head at one length."""

    def __init__(self) -> None:
        self._known: dict[tuple[PartyId, int], Digest] = {}

    def problems(self, case: Case, event: object) -> Iterator[str]:
        """Say whether a result tells of a log that was forked, or ran backwards."""
        made = case.results.get(event.number) if isinstance(event, RoundDecrypted) else None
        if made is None:
            return
        place = (case.order.key_holder.party, made.log.size)
        if place in self._known:
            yield "the key holder's own log has this length a second time"
        self._known[place] = made.log.head
        before = case.results.get(made.number - 1)
        if before is not None and before.log.size >= made.log.size:
            yield "the key holder's own log did not grow"


JUDGES: Final[Mapping[type, Judge]] = {
    KeyAnnounced: _key,
    RoundOpened: _round,
    UploadReceived: _upload,
    SumMade: _sum,
    RoundDecrypted: _result,
    CollectionConcluded: _final,
    PartyDeclined: _refusal,
}
"""Who judges which document; a kind joins by a line here and one in `privacy.homomorphic.documents.citing`."""

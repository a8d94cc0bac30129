"""Step over the parties themselves: who was enrolled, whether the reader pinned them, what sites attested.

Rules
-----
1. A party's identity has the fingerprint that the log enrolled it with; its keys are what its documents are judged by.
2. If the reader pinned anybody, every party that a job names is one that he pinned, with these very keys.
3. An attestation is signed by the site whose rows they are, over the schema that was declared and the commitment that
   the log holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from audit.findings import StepResult
from kernel.errors import PrivgateError
from kernel.ids import PartyId
from privacy.events.blind import BlindRequested
from privacy.events.collections import CollectionRequested, PartyEnrolled, SiteAttested
from privacy.events.sealing import SchemaDeclared
from privacy.homomorphic.documents.attestation import Attestation
from privacy.homomorphic.documents.parties import Identity
from privgate.verify.history import History, HistoryFindings
from privgate.verify.parties.files import PartyFiles


def check_parties(
    history: History, files: PartyFiles, pins: Sequence[Identity]
) -> tuple[StepResult, Mapping[PartyId, Identity]]:
    """Check identities and attestations; the parties as far as they are known."""
    findings = HistoryFindings("Parties", history)
    known: dict[PartyId, Identity] = {}
    attested = 0
    for entered, found in files.cited:
        if not isinstance(entered.event, PartyEnrolled | SiteAttested):
            continue
        data = files.read(entered, found, findings)
        if data is None:
            continue
        if isinstance(entered.event, PartyEnrolled):
            problems = _enrolled(entered.event, data, known)
        else:
            attested += 1
            problems = _attested(entered.event, data, known, history)
        for problem in problems:
            findings.wrong(found.file, problem, entered.index)
    _against_pins(history, known, pins, findings)
    word = f"{len(pins)} of them pinned by you" if pins else "on the gateway's word: you pinned none of them"
    return findings.result(f"{len(known)} parties are those that were enrolled, {word}; {attested} attestations"), known


def _enrolled(event: PartyEnrolled, data: bytes, known: dict[PartyId, Identity]) -> Iterator[str]:
    try:
        who = Identity.from_bytes(data)
    except PrivgateError as error:
        yield f"not an identity: {error.message}"
        return
    if (who.fingerprint, who.kind, who.name) != (event.fingerprint, event.kind, event.name):
        yield "it is not the identity that the log enrolled: another fingerprint, kind or name"
    elif event.party in known:
        yield "a party was enrolled twice under one number"
    else:
        known[event.party] = who


def _attested(event: SiteAttested, data: bytes, known: Mapping[PartyId, Identity], history: History) -> Iterator[str]:
    who = known.get(event.party)
    try:
        said = Attestation.opened(data, [] if who is None else [who.identity])
    except PrivgateError:
        yield "its site did not sign this attestation"
        return
    if (said.party, said.dataset, said.rows) != (event.party, event.dataset, event.manifest):
        yield "it attests other rows than the log says, or those of another dataset or site"
    declared = [e.event for e in history.of(SchemaDeclared) if e.event.dataset == event.dataset]
    if [(one.schema, one.population, one.site) for one in declared] != [(said.schema, event.population, said.party)]:
        yield "it attests to another schema, population or site than was declared"


def _against_pins(
    history: History, known: Mapping[PartyId, Identity], pins: Sequence[Identity], findings: HistoryFindings
) -> None:
    by_name = {(pin.kind, pin.name): pin for pin in pins}
    files = {e.event.party: (e.file, e.index) for e in history.of(PartyEnrolled)}
    for party in _taking_part(history) if pins else ():
        who, (file, index) = known.get(party), files.get(party, ("audit/payloads", None))
        if who is None:
            continue  # said already
        pin = by_name.get((who.kind, who.name))
        if pin is None:
            findings.unclear(file, f"you pinned no {who.kind} `{who.name}`, and it took part", index)
        elif pin != who:
            findings.wrong(file, f"the {who.kind} `{who.name}` that took part is not the one that you pinned", index)


def _taking_part(history: History) -> list[PartyId]:
    asked = [entered.event for entered in history.of(CollectionRequested)]
    blind = {entered.event.party for entered in history.of(BlindRequested)}
    return sorted({party for event in asked for party in (event.party, event.key_holder)} | blind)

"""Use case: a party gets another certificate for its connections, before the present one ends or afterwards.

Rules
-----
1. Its identity signs the renewal, over the certificate that is replaced and the new key. It comes over a connection of
   the party itself, or from its owner; either way it is decided as enrolling by the owner would be.
2. The certificate waits until it is used: up to then both are good, so that a lost answer and a killed agent cost
   nothing. The same renewal again is answered with the same certificate.
3. Its first use replaces the present one, in one work. A party or owner that was disabled gets nothing.
"""

from __future__ import annotations

from gateway.collection_records import PartyRecord
from gateway.party_authority import Issued, requested
from gateway.services.collaborators import Collaborators
from gateway.services.collections.parties import acts
from gateway.services.collections.reading import opened_by
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.unit_of_work import SYSTEM, Work
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError, NotFoundError
from kernel.ids import PartyId
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.events.collections import PartyCertified, PartyRenewed
from privacy.homomorphic.documents.renewal import Renewal


def renew_own(on: Collaborators, party: PartyRecord, data: bytes) -> str | Deny:
    """Take a party's own renewal; the certificate in PEM."""
    return _renew(on, Caller(party.tenant, party.owner), party.id, data, nothing_else)


def renew_party(
    on: Collaborators, caller: Caller, party: PartyId, data: bytes, *, alongside: Alongside[str] = nothing_else
) -> str | Deny:
    """Take a party's renewal from its owner; the certificate in PEM.

    Args:
        on: Collaborators.
        caller: The party's owner.
        party: Which party.
        data: What it signed.
        alongside: What is stored in the same commit.
    """
    return _renew(on, caller, party, data, alongside)


def take_up(on: Collaborators, party: PartyRecord, certificate: Digest) -> None:
    """Let a certificate that waited take its place, because it was used; nothing happens if it has it already."""
    if party.certificate == certificate:
        return
    with on.database.work(party.tenant) as work:
        record = work.parties.get(lock=True, id=party.id)
        if record.next_certificate != certificate:
            return
        _replace(work, record)
        work.record(PartyRenewed(party=party.id, certificate=certificate), actor=SYSTEM)
        work.commit("party-renewed")


def _renew(on: Collaborators, caller: Caller, party: PartyId, data: bytes, alongside: Alongside[str]) -> str | Deny:
    with on.database.work(caller.tenant) as work:
        record = work.parties.get(lock=True, id=party, tenant=caller.tenant)
        answer = on.decider.decide_in(work, caller, Action.PARTY_ENROL, enacts=True)
        if (denial := answer.denial) is not None:
            work.commit("party-renew-denied")
            return denial
        if record.owner != caller.principal:
            raise NotFoundError("no such party of yours", field="party")
        if not acts(on, record):
            raise ConflictError("this party was disabled: enrol another one", field="party")
        issued, asked = _issued(on, record, data)
        if issued is not None:
            work.parties.change({"id": party}, **_waiting(issued))
            event = PartyCertified(party=party, certificate=issued.digest, replaces=asked.replaces, until=issued.until)
            work.record(event, actor=answer.actor)
        pem = record.next_pem or "" if issued is None else issued.pem
        alongside(work, pem)
        work.commit("party-certified")
    return pem


def _issued(on: Collaborators, record: PartyRecord, data: bytes) -> tuple[Issued | None, Renewal]:
    """A certificate for what was asked, or nothing if it waits already."""
    asked = opened_by(Renewal, data, record)
    name, key = requested(asked.request)
    if asked.party != record.id or name != record.name:
        raise InvalidError("a renewal is of the party itself, in its own name", field="request")
    if asked.replaces != record.certificate:
        raise ConflictError("this renewal replaces another certificate than the present one", field="replaces")
    if record.next_key == key:
        return None, asked
    return on.parties.issue(asked.request, record.id), asked


def _waiting(issued: Issued) -> dict[str, object]:
    return {
        "next_certificate": issued.digest,
        "next_key": issued.key,
        "next_until": issued.until,
        "next_pem": issued.pem,
    }


def _replace(work: Work, record: PartyRecord) -> None:
    after = {"certificate": record.next_certificate, "certificate_until": record.next_until}
    gone = dict.fromkeys(("next_certificate", "next_key", "next_until", "next_pem"))
    work.parties.change({"id": record.id}, **after, **gone)

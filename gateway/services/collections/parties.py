"""Use case: an owner enrols the agent of a site or a key holder, and ends its access.

Rules
-----
1. An agent's identity is its own; the gateway keeps the public part and certifies the key of its connections.
2. Each identity and each name is enrolled once in a tenant. Disabling is final: another agent is enrolled anew.
3. A certificate that is to take another's place (`renewing`) is known beside it, each until its own end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.collection_records import PartyRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.unit_of_work import Reading
from kernel.canonical import Digest
from kernel.errors import ConflictError, NotFoundError, UnauthenticatedError
from kernel.ids import PartyId, TenantId
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.events.collections import PartyDisabled, PartyEnrolled
from privacy.homomorphic.documents.parties import Identity, PartyKind


@dataclass(frozen=True, slots=True)
class EnrolledParty:
    """A new party with the certificate of its connections."""

    record: PartyRecord
    certificate: str


def enrol_party(
    on: Collaborators,
    caller: Caller,
    identity: Mapping[str, Any],
    request: str,
    *,
    alongside: Alongside[EnrolledParty] = nothing_else,
) -> EnrolledParty | Deny:
    """Let an agent in.

    Args:
        on: Collaborators.
        caller: Its owner.
        identity: Members of its `identity.json`.
        request: A certificate request, in PEM.
        alongside: What is stored in the same commit.
    """
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.PARTY_ENROL, enacts=True)
        if (denial := answer.denial) is not None:
            work.commit("party-denied")
            return denial
        who, party = Identity.from_json(identity), PartyId.new(on.entropy)
        issued = on.parties.issue(request, party)
        if work.parties.all(tenant=caller.tenant, name=who.name):
            raise ConflictError("a party of this name is enrolled already", field="name")
        if work.parties.all(tenant=caller.tenant, fingerprint=who.fingerprint):
            raise ConflictError(
                "a party with this identity is enrolled already: `renew` gives it another certificate", field="identity"
            )
        record = PartyRecord(
            id=party,
            tenant=caller.tenant,
            owner=caller.principal,
            name=who.name,
            identity=who.to_json(),
            fingerprint=who.fingerprint,
            certificate=issued.digest,
            certificate_until=issued.until,
            created_at=work.now,
        )
        work.parties.insert(record)
        work.record(_enrolled(record, who), actor=answer.actor)
        enrolled = EnrolledParty(record, issued.pem)
        alongside(work, enrolled)
        work.commit("party")
    return enrolled


def disable_party(on: Collaborators, caller: Caller, party: PartyId) -> PartyRecord | Deny:
    """End an agent's access, for good."""
    with on.database.work(caller.tenant) as work:
        record = work.parties.get(lock=True, id=party, tenant=caller.tenant)
        answer = on.decider.decide_in(work, caller, Action.PARTY_DISABLE, holder=record.owner)
        if (denial := answer.denial) is not None:
            work.commit("party-disable-denied")
            return denial
        if record.disabled:
            raise ConflictError("this party was disabled before", field="party")
        work.parties.change({"id": party}, disabled=True)
        work.record(PartyDisabled(party=party), actor=answer.actor)
        after = work.parties.get(id=party)
        work.commit("party-disable")
    return after


def parties_of(on: Collaborators, tenant: TenantId) -> list[PartyRecord]:
    """Every party of a tenant, in order of their names."""
    with on.database.read() as reading:
        return sorted(reading.parties.all(tenant=tenant), key=lambda record: record.name)


def prove_party(on: Collaborators, certificate: Digest) -> PartyRecord:
    """The party whose connection this is; raise `UnauthenticatedError` if it is nobody's any more."""
    with on.database.read() as reading:
        record = reading.parties.find(certificate=certificate) or reading.parties.find(next_certificate=certificate)
    if record is None or not acts(on, record):
        raise UnauthenticatedError("this certificate is of no party that may act here")
    until = record.certificate_until if record.certificate == certificate else record.next_until
    if until is not None and until <= on.clock.now():
        raise UnauthenticatedError("this certificate has ended: the party's owner renews it")
    return record


def acts(on: Collaborators, record: PartyRecord) -> bool:
    """Whether a party may act: neither it nor its owner was disabled."""
    owner = on.decider.snapshot(record.tenant).principals.get(record.owner)
    return not record.disabled and owner is not None and owner.enabled


def acting_party(on: Collaborators, reading: Reading, tenant: TenantId, party: PartyId, kind: PartyKind) -> PartyRecord:
    """A party of a kind that may act.

    Raises:
        NotFoundError: The tenant has no such party of this kind.
        ConflictError: It was disabled, or its owner was.
    """
    record = reading.parties.get(id=party, tenant=tenant)
    if record.who.kind is not kind:
        raise NotFoundError(f"no such {kind}", field="party")
    if not acts(on, record):
        raise ConflictError(f"the {kind} was disabled: name another one", field="party")
    return record


def _enrolled(record: PartyRecord, who: Identity) -> PartyEnrolled:
    return PartyEnrolled(
        party=record.id,
        kind=who.kind,
        name=who.name,
        owner=record.owner,
        fingerprint=record.fingerprint,
        certificate=record.certificate,
    )

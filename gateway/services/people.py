"""Use case: let people in, give them roles, show them out.

Rules
-----
1. A principal is a random id; the name is kept beside the log under a salt of its own, and the log holds a commitment.
2. A token is returned once, to whoever may issue it, and stored as a hash.
3. Disabling a principal is final and revokes every credential in the same commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from audit.commitments import commit as commit_text
from gateway.credentials import Credential, Token, hash_secret, new_token
from gateway.records import PersonRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Answer, Caller
from gateway.unit_of_work import SYSTEM, Work
from kernel.checks import text, whole
from kernel.errors import ConflictError, NotFoundError
from kernel.ids import CredentialId, PrincipalId, TenantId
from policies.decisions import Deny
from policies.events import (
    CredentialIssued,
    CredentialRevoked,
    PrincipalDisabled,
    PrincipalEnrolled,
    RoleAssigned,
    RoleRemoved,
    TenantCreated,
)
from policies.vocabulary import Action, Role

LONGEST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A new principal with the token that proves it; the token is shown once."""

    principal: PrincipalId
    token: Token


def found_tenant(on: Collaborators, *, tenant_name: str, admin_name: str) -> tuple[TenantId, Enrolled]:
    """Create an organisation with its first administrator; only the operator's command line may call this."""
    tenant = TenantId.new(on.entropy)
    on.keyring.ensure_tenant(tenant)
    with on.database.work(tenant) as work:
        work.tenants.add(tenant, work.now)
        work.policy.create(tenant)
        name = work.texts.keep(tenant, "tenant-name", text(200, tenant_name=tenant_name), on.entropy(32))
        on.decider.enact(work, lambda epoch: TenantCreated(epoch=epoch, tenant=tenant, name=name), SYSTEM)
        admin = _enrol(on, work, admin_name)
        on.decider.enact(work, lambda e: RoleAssigned(epoch=e, principal=admin, role=Role.ADMIN), SYSTEM)
        token = _issue(on, work, admin, on.limits.token_days)
        work.record(_issued_event(token), actor=SYSTEM)
        work.commit("tenant")
    return tenant, Enrolled(admin, token[1])


def enrol(on: Collaborators, caller: Caller, name: str, token_days: int) -> Enrolled | Deny:
    """Let a principal in with a first token and no role; until it is given one it can do nothing."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.PRINCIPAL_ENROL, enacts=True)
        if (denial := answer.denial) is not None:
            work.commit("enrol-denied")
            return denial
        principal = _enrol(on, work, name, answer)
        token = _issue(on, work, principal, token_days)
        work.record(_issued_event(token), actor=answer.actor)
        work.commit("enrol")
    return Enrolled(principal, token[1])


def assign_role(on: Collaborators, caller: Caller, principal: PrincipalId, role: Role) -> Deny | None:
    """Give a role; separation of duties is checked by the policy."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.ROLE_ASSIGN, enacts=True, subject=principal, role=role)
        if answer.denial is None:
            _assign(on, work, principal, role, answer)
        work.commit("role-assign")
    return answer.denial


def remove_role(on: Collaborators, caller: Caller, principal: PrincipalId, role: Role) -> Deny | None:
    """Take a role away."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.ROLE_REMOVE, enacts=True, subject=principal, role=role)
        if answer.denial is None:
            on.decider.enact(work, lambda epoch: RoleRemoved(epoch=epoch, principal=principal, role=role), answer.actor)
        work.commit("role-remove")
    return answer.denial


def issue_credential(on: Collaborators, caller: Caller, principal: PrincipalId, days: int) -> Token | Deny:
    """Issue a further token to a principal."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.CREDENTIAL_ISSUE, subject=principal)
        if (denial := answer.denial) is not None:
            work.commit("credential-denied")
            return denial
        token = _issue(on, work, principal, days)
        work.record(_issued_event(token), actor=answer.actor)
        work.commit("credential-issue")
    return token[1]


def reissue(on: Collaborators, principal: PrincipalId) -> Token:
    """Issue a further token as the gateway's own act; only the operator's command line may call this.

    Raises:
        NotFoundError: No such principal here.
        ConflictError: It was disabled, which is final.
    """
    with on.database.read() as reading:
        person = reading.people.get(principal=principal)
    known = on.decider.snapshot(person.tenant).principals[principal]
    if not known.enabled:
        raise ConflictError("this principal was disabled, for good", field="principal")
    with on.database.work(person.tenant) as work:
        issued = _issue(on, work, principal, on.limits.token_days)
        work.record(_issued_event(issued), actor=SYSTEM)
        work.commit("token")
    return issued[1]


def revoke_credential(on: Collaborators, caller: Caller, credential: CredentialId) -> Deny | None:
    """Make a token worthless."""
    with on.database.work(caller.tenant) as work:
        known = work.credentials.find(credential)
        if known is None or known.tenant != caller.tenant:
            raise NotFoundError("no such credential")
        answer = on.decider.decide_in(work, caller, Action.CREDENTIAL_REVOKE, subject=known.principal)
        if answer.denial is None:
            work.credentials.revoke(credential)
            work.record(CredentialRevoked(credential=credential), actor=answer.actor)
        work.commit("credential-revoke")
    return answer.denial


def disable(on: Collaborators, caller: Caller, principal: PrincipalId) -> Deny | None:
    """End a principal's access: for good, with every credential."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.PRINCIPAL_DISABLE, enacts=True, subject=principal)
        if answer.denial is None:
            on.decider.enact(work, lambda epoch: PrincipalDisabled(epoch=epoch, principal=principal), answer.actor)
            for credential in work.credentials.of(principal):
                if not credential.revoked:
                    work.credentials.revoke(credential.id)
                    work.record(CredentialRevoked(credential=credential.id), actor=answer.actor)
        work.commit("principal-disable")
    return answer.denial


def _enrol(on: Collaborators, work: Work, name: str, answer: Answer | None = None) -> PrincipalId:
    principal, salt = PrincipalId.new(on.entropy), on.entropy(32)
    work.people.insert(PersonRecord(principal=principal, tenant=work.tenant, name=text(200, name=name), salt=salt))
    committed = commit_text(salt, "person-name", name)
    on.decider.enact(
        work,
        lambda epoch: PrincipalEnrolled(epoch=epoch, principal=principal, name=committed),
        SYSTEM if answer is None else answer.actor,
    )
    return principal


def _assign(on: Collaborators, work: Work, principal: PrincipalId, role: Role, answer: Answer) -> None:
    on.decider.enact(work, lambda epoch: RoleAssigned(epoch=epoch, principal=principal, role=role), answer.actor)


def _issue(on: Collaborators, work: Work, principal: PrincipalId, days: int) -> tuple[Credential, Token]:
    token = new_token(CredentialId.new(on.entropy), on.entropy)
    until = work.now + timedelta(days=whole(1, LONGEST_DAYS, token_days=days))
    stored = Credential(
        id=token.credential,
        tenant=work.tenant,
        principal=principal,
        secret_hash=hash_secret(token.credential, token.secret),
        expires_at=until,
    )
    work.credentials.add(stored)
    return stored, token


def _issued_event(issued: tuple[Credential, Token]) -> CredentialIssued:
    stored, _ = issued
    return CredentialIssued(credential=stored.id, principal=stored.principal, until=stored.expires_at)

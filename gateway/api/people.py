"""Routes: yourself, principals, roles, credentials."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, shown
from gateway.api.bodies import AssignRole, CredentialRef, EnrolPrincipal, IssueCredential, PrincipalRef, RoleName
from gateway.api.deps import CurrentCaller, CurrentReader, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import Done, PrincipalView, SelfView, TokenView
from gateway.services import people
from gateway.services.collaborators import Collaborators
from kernel.errors import InvalidError
from kernel.ids import CredentialId, PrincipalId, TenantId
from policies.vocabulary import Action, Role

router = APIRouter(prefix="/v1", tags=["people"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)


@router.get("/self", operation_id="readSelf", response_model=SelfView)
async def read_self(reader: CurrentReader, state: State) -> JSONResponse:
    """Who you are here, with your roles."""
    await reader.decide(Action.SELF_READ)
    known = state.on.decider.snapshot(reader.caller.tenant).principals[reader.principal]
    roles = sorted(role.value for role in known.roles)
    return shown(SelfView(tenant=reader.caller.tenant, principal=reader.principal, roles=roles))


@router.get("/principals", operation_id="listPrincipals", response_model=list[PrincipalView])
async def list_principals(reader: CurrentReader, state: State) -> JSONResponse:
    """Everybody who was let in, with names that were not erased."""
    await reader.decide(Action.PRINCIPAL_LIST)
    names = await state.reads(_names, state.on, reader.caller.tenant)
    known = state.on.decider.snapshot(reader.caller.tenant).principals.values()
    views = [
        PrincipalView(principal=p.id, name=names.get(p.id), roles=sorted(r.value for r in p.roles), enabled=p.enabled)
        for p in known
    ]
    return JSONResponse([view.model_dump(mode="json") for view in views])


@router.post("/principals", operation_id="enrolPrincipal", status_code=201, response_model=TokenView)
async def enrol_principal(body: EnrolPrincipal, caller: CurrentCaller, state: State) -> JSONResponse:
    """Let a person or service in. The token is shown this once; without a role it opens nothing."""
    enrolled = granted(await state.writes(people.enrol, state.on, caller, body.name, body.token_days))
    token = enrolled.token
    view = TokenView(principal=enrolled.principal, credential=token.credential, token=token.written())
    return shown(view, 201)


@router.post("/principals/{principal}/roles", operation_id="assignRole", response_model=Done)
async def assign_role(principal: PrincipalRef, body: AssignRole, caller: CurrentCaller, state: State) -> JSONResponse:
    """Give a role. Roles that must not meet in one principal are refused."""
    granted(await state.writes(people.assign_role, state.on, caller, PrincipalId(principal), role_of(body.role)))
    return shown(Done())


@router.delete("/principals/{principal}/roles/{role}", operation_id="removeRole", response_model=Done)
async def remove_role(principal: PrincipalRef, role: RoleName, caller: CurrentCaller, state: State) -> JSONResponse:
    """Take a role away."""
    granted(await state.writes(people.remove_role, state.on, caller, PrincipalId(principal), role_of(role)))
    return shown(Done())


@router.delete("/principals/{principal}", operation_id="disablePrincipal", response_model=Done)
async def disable_principal(principal: PrincipalRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """End a principal's access, for good, with every token."""
    granted(await state.writes(people.disable, state.on, caller, PrincipalId(principal)))
    state.authenticator.forget()
    return shown(Done())


@router.post(
    "/principals/{principal}/credentials", operation_id="issueCredential", status_code=201, response_model=TokenView
)
async def issue_credential(
    principal: PrincipalRef, body: IssueCredential, caller: CurrentCaller, state: State
) -> JSONResponse:
    """Issue a further token. It is shown this once."""
    issue = people.issue_credential
    token = granted(await state.writes(issue, state.on, caller, PrincipalId(principal), body.token_days))
    return shown(TokenView(principal=principal, credential=token.credential, token=token.written()), 201)


@router.delete("/credentials/{credential}", operation_id="revokeCredential", response_model=Done)
async def revoke_credential(credential: CredentialRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """Make a token worthless."""
    granted(await state.writes(people.revoke_credential, state.on, caller, CredentialId(credential)))
    state.authenticator.forget()
    return shown(Done())


def role_of(written: str) -> Role:
    """Read a role; raise `InvalidError` naming the roles there are."""
    try:
        return Role(written)
    except ValueError:
        raise InvalidError("`role` must be one of " + ", ".join(Role), field="role") from None


def _names(on: Collaborators, tenant: TenantId) -> dict[PrincipalId, str]:
    with on.database.read() as reading:
        return {person.principal: person.name for person in reading.people.all(tenant=tenant)}

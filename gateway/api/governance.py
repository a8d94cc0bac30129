"""Routes: purposes, the tenant's policy, grants."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, once, shown
from gateway.api.bodies import CreateGrant, DatasetRef, DefinePurpose, GrantRef, SetPolicy
from gateway.api.deps import CurrentCaller, CurrentReader, ExpectedVersion, Key, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import Done, GrantView, PolicyView, PurposeView
from gateway.services import governance
from gateway.services.grants import NewGrant, create_grant, revoke_grant
from kernel.clock import format_time, parse_time
from kernel.errors import InvalidError
from kernel.ids import DatasetId, GrantId, PrincipalId, Slug
from policies.grants import Grant, Obligations
from policies.snapshot import PolicySnapshot
from policies.tenant_policy import TenantPolicy
from policies.vocabulary import Action, JobKind, Role

router = APIRouter(prefix="/v1", tags=["governance"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)


@router.get("/purposes", operation_id="listPurposes", response_model=list[PurposeView])
async def list_purposes(reader: CurrentReader, state: State) -> JSONResponse:
    """The purposes that data here may be used for."""
    await reader.decide(Action.PURPOSE_LIST)
    purposes = state.on.decider.snapshot(reader.caller.tenant).purposes
    views = [PurposeView(purpose=name, within=sorted(within)) for name, within in sorted(purposes.parents.items())]
    return JSONResponse([view.model_dump(mode="json") for view in views])


@router.post("/purposes", operation_id="definePurpose", status_code=201, response_model=PurposeView)
async def define_purpose(body: DefinePurpose, caller: CurrentCaller, state: State) -> JSONResponse:
    """Define a purpose as part of others."""
    within = [Slug(name) for name in body.within]
    granted(await state.writes(governance.define_purpose, state.on, caller, Slug(body.purpose), within))
    return shown(PurposeView(purpose=body.purpose, within=sorted(body.within)), 201)


@router.get("/policy", operation_id="readPolicy", response_model=PolicyView)
async def read_policy(reader: CurrentReader, state: State) -> JSONResponse:
    """The tenant's policy, with its epoch as ETag."""
    await reader.decide(Action.POLICY_READ)
    snapshot = state.on.decider.snapshot(reader.caller.tenant)
    return shown(_policy_view(snapshot), ETag=f'"{snapshot.epoch}"')


@router.put("/policy", operation_id="setPolicy", response_model=Done)
async def set_policy(body: SetPolicy, caller: CurrentCaller, state: State, expected: ExpectedVersion) -> JSONResponse:
    """Replace the tenant's policy as a whole, if it is still at the epoch that `If-Match` names."""
    policy = TenantPolicy.from_fields(body.model_dump())
    granted(await state.writes(governance.set_policy, state.on, caller, policy, expected))
    return shown(Done())


@router.get("/grants", operation_id="listGrants", response_model=list[GrantView])
async def list_grants(
    reader: CurrentReader,
    state: State,
    dataset: Annotated[DatasetRef | None, Query()] = None,
) -> JSONResponse:
    """Grants: an owner sees those on its datasets, a trainer its own, an auditor all."""
    await reader.decide(Action.GRANT_LIST)
    snapshot = state.on.decider.snapshot(reader.caller.tenant)
    wanted = None if dataset is None else DatasetId(dataset)
    found = [g for g in snapshot.grants.values() if wanted in (None, g.dataset) and _may_see(snapshot, reader, g)]
    return JSONResponse([grant_view(grant).model_dump(mode="json") for grant in sorted(found, key=lambda g: g.id)])


@router.post("/grants", operation_id="createGrant", status_code=201, response_model=GrantView)
async def post_grant(body: CreateGrant, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Grant a principal the use of a dataset."""
    declared = _new_grant(body)
    request = {"route": "createGrant", "body": body.model_dump(mode="json")}
    return await once(state, caller, key, request, 201, grant_view, create_grant, state.on, caller, declared)


@router.delete("/grants/{grant}", operation_id="revokeGrant", response_model=Done)
async def delete_grant(grant: GrantRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """Take a grant back."""
    granted(await state.writes(revoke_grant, state.on, caller, GrantId(grant)))
    return shown(Done())


def grant_view(grant: Grant) -> GrantView:
    """Show a grant."""
    return GrantView(
        grant=grant.id,
        principal=grant.principal,
        dataset=grant.dataset,
        purpose=grant.purpose,
        until=format_time(grant.until),
        job_kinds=[kind.value for kind in grant.job_kinds],
        obligations=grant.obligations.to_fields(),
        state=grant.state.value,
    )


def _may_see(snapshot: PolicySnapshot, reader: CurrentReader, grant: Grant) -> bool:
    principal = snapshot.principals[reader.principal]
    if principal.roles & {Role.AUDITOR, Role.ADMIN}:
        return True
    return reader.principal in (grant.principal, snapshot.datasets[grant.dataset].owner)


def _new_grant(body: CreateGrant) -> NewGrant:
    return NewGrant(
        principal=PrincipalId(body.principal),
        dataset=DatasetId(body.dataset),
        purpose=Slug(body.purpose),
        until=parse_time(body.until, "until"),
        job_kinds=[_job_kind(kind) for kind in body.job_kinds],
        obligations=Obligations.from_fields(_given(body.obligations.model_dump())),
    )


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _job_kind(written: str) -> JobKind:
    try:
        return JobKind(written)
    except ValueError:
        raise InvalidError("`job_kinds` may list " + ", ".join(JobKind), field="job_kinds") from None


def _policy_view(snapshot: PolicySnapshot) -> PolicyView:
    return PolicyView(epoch=snapshot.epoch, digest=snapshot.digest, policy=snapshot.policy.to_fields())

"""Routes: releases, their desk, and what may be fetched of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from gateway.api.answers import PROBLEM_RESPONSES, granted, page_links, raw_answer, shown
from gateway.api.bodies import CheckRelease, ReleaseRef
from gateway.api.deps import CurrentCaller, CurrentReader, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import ReleaseView
from gateway.records import ReleaseRecord
from gateway.services import release_desk
from gateway.services.release_views import facts_of, visible_release, visible_releases
from kernel.errors import NotFoundError
from kernel.ids import ReleaseId
from policies.vocabulary import Action
from privacy.events.releases import FetchedPart
from privacy.release.desk import DeskVerdict

router = APIRouter(prefix="/v1/releases", tags=["releases"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)
PAGE = 50

FILES = {
    "artifact": (FetchedPart.ARTIFACT, "application/octet-stream"),
    "certificate.json": (FetchedPart.CERTIFICATE, "application/json"),
    "receipt.tlog-proof": (FetchedPart.RECEIPT, "text/plain; charset=utf-8"),
    "MODEL_CARD.md": (FetchedPart.MODEL_CARD, "text/markdown; charset=utf-8"),
}


@router.get("", operation_id="listReleases", response_model=list[ReleaseView])
async def list_releases(
    reader: CurrentReader,
    state: State,
    after: Annotated[ReleaseRef | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> JSONResponse:
    """Releases that you asked for, that come from your data, or that you may check; all of them for an auditor."""
    await reader.decide(Action.RELEASE_LIST)
    snapshot = state.on.decider.snapshot(reader.caller.tenant)
    found = await state.reads(visible_releases, state.on, reader.caller, snapshot, after, limit)
    last = found[-1].id if len(found) == limit else None
    body = [release_view(record).model_dump(mode="json") for record in found]
    return JSONResponse(body, headers=page_links("/v1/releases", last))


@router.get("/{release}", operation_id="readRelease", response_model=ReleaseView)
async def read_release(release: ReleaseRef, reader: CurrentReader, state: State) -> JSONResponse:
    """A release and where it stands."""
    record = await state.reads(visible_release, state.on, reader.caller.tenant, ReleaseId(release))
    snapshot = state.on.decider.snapshot(reader.caller.tenant)
    await reader.decide(Action.RELEASE_READ, **await state.reads(facts_of, state.on, reader.caller, snapshot, record))
    return shown(release_view(record), ETag=f'"{record.row_version}"')


@router.post("/{release}/check", operation_id="checkRelease", response_model=ReleaseView)
async def post_check(release: ReleaseRef, body: CheckRelease, caller: CurrentCaller, state: State) -> JSONResponse:
    """Let a held release go, or refuse it. Never the one who asked for it."""
    check, verdict = release_desk.check_release, DeskVerdict(body.verdict)
    record = granted(await state.writes(check, state.on, caller, ReleaseId(release), verdict))
    return shown(release_view(record))


@router.post("/{release}/recall", operation_id="recallRelease", response_model=ReleaseView)
async def post_recall(release: ReleaseRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """Close a release's download. What was disclosed stays disclosed."""
    record = granted(await state.writes(release_desk.recall_release, state.on, caller, ReleaseId(release)))
    return shown(release_view(record))


@router.get(
    "/{release}/files/{name}",
    operation_id="fetchRelease",
    response_class=Response,
    responses=raw_answer(*sorted({media.split(";")[0] for _, media in FILES.values()})),
)
async def fetch_release(release: ReleaseRef, name: str, caller: CurrentCaller, state: State) -> Response:
    """Fetch a part of a published release: `artifact`, `certificate.json`, `receipt.tlog-proof` or `MODEL_CARD.md`."""
    if name not in FILES:
        raise NotFoundError("a release has the files " + ", ".join(FILES))
    part, media = FILES[name]
    fetched = granted(await state.writes(release_desk.fetch, state.on, caller, ReleaseId(release), part))
    return Response(fetched.content, media_type=media, headers={"Cache-Control": "no-store"})


def release_view(record: ReleaseRecord) -> ReleaseView:
    """Show a release."""
    return ReleaseView(
        release=record.id,
        job=record.job,
        kind=record.kind,
        state=record.state,
        dataset=record.dataset,
        epsilon=record.epsilon,
        artifact_digest=record.artifact_digest,
        certificate_digest=record.certificate_digest,
        principal=record.principal,
    )

"""Routes: quotes, jobs, approvals, progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import format_sse_event

from gateway.api.answers import PROBLEM_RESPONSES, event_answer, granted, once, page_links, shown
from gateway.api.bodies import AnswerApproval, JobRef, JobRequest
from gateway.api.deps import CurrentCaller, CurrentReader, Key, State, get_caller
from gateway.api.json_route import LargeJsonRoute
from gateway.api.views import JobView, QuoteView
from gateway.records import JobRecord, JobState
from gateway.services.blind.requesting import quote_blind, request_blind
from gateway.services.cancel_job import cancel_job
from gateway.services.collections.concerning import concerned, of_sites
from gateway.services.collections.requesting import answer_collection, quote_collection, request_collection
from gateway.services.inferences.requesting import answer_inference, quote_inference, request_inference
from gateway.services.job_views import VisibleJob, new_lines, visible_job, visible_jobs
from gateway.services.request_job import Quoted, answer_approval, quote_job, request_job
from kernel import canonical
from kernel.canonical import Digest
from kernel.clock import format_time
from kernel.errors import UnauthenticatedError
from kernel.ids import DatasetId, JobId, TenantId
from policies.vocabulary import Action, ApprovalVerdict
from privacy.homomorphic.blind.spec import BlindSpec, is_blind
from privacy.homomorphic.inferences.spec import InferenceSpec, is_inference
from privacy.homomorphic.requests.spec import CollectionSpec, is_collection

router = APIRouter(prefix="/v1", tags=["jobs"], responses=PROBLEM_RESPONSES, route_class=LargeJsonRoute)
PAGE = 50
POLL_SECONDS = 0.5
KEEP_ALIVE_POLLS = 30


@router.post("/quotes", operation_id="quoteJob", response_model=QuoteView)
async def post_quote(body: JobRequest, caller: CurrentCaller, state: State) -> JSONResponse:
    """What a job would cost, whether it fits, and the largest one of its shape that would. Nothing is held."""
    if is_blind(body.spec):
        training = granted(await state.writes(quote_blind, state.on, caller, body.spec))
        return shown(_written_quote(training.spec, training.fields))
    if is_collection(body.spec):
        asked = granted(await state.writes(quote_collection, state.on, caller, body.spec))
        return shown(_written_quote(asked.spec, asked.fields))
    if is_inference(body.spec):
        question = granted(await state.writes(quote_inference, state.on, caller, body.spec))
        return shown(_written_quote(question.spec, question.fields))
    quoted = granted(await state.writes(quote_job, state.on, caller, body.spec))
    return shown(_quote_view(quoted))


@router.post("/jobs", operation_id="requestJob", status_code=202, response_model=JobView)
async def post_job(body: JobRequest, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Request a job. It is queued with its reservation, parked for approval, or refused with what would fit."""
    request = {"route": "requestJob", "body": canonical.digest_of("job-body/v1", body.spec)}
    return await once(state, caller, key, request, 202, job_view, _asking(body.spec), state.on, caller, body.spec)


@router.get("/jobs", operation_id="listJobs", response_model=list[JobView])
async def list_jobs(
    reader: CurrentReader,
    state: State,
    after: Annotated[JobRef | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> JSONResponse:
    """Jobs that you asked for or that read your data; all of them for an auditor."""
    await reader.decide(Action.JOB_LIST)
    snapshot = state.on.decider.snapshot(reader.caller.tenant)
    found = await state.reads(visible_jobs, state.on, reader.caller, snapshot, after, limit)
    last = found[-1].record.id if len(found) == limit else None
    body = [_visible_view(job).model_dump(mode="json") for job in found]
    return JSONResponse(body, headers=page_links("/v1/jobs", last))


@router.get("/jobs/{job}", operation_id="readJob", response_model=JobView)
async def read_job(job: JobRef, reader: CurrentReader, state: State) -> JSONResponse:
    """A job: its request, and its state and coarse progress as of the last tick."""
    found = await _decided(job, reader, state)
    return shown(_visible_view(found).model_copy(update={"request": dict(found.record.spec)}))


@router.get(
    "/jobs/{job}/events",
    operation_id="followJob",
    response_class=StreamingResponse,
    responses=event_answer(),
)
async def follow_job(
    job: JobRef,
    request: Request,
    reader: CurrentReader,
    state: State,
    last: Annotated[int, Header(alias="Last-Event-ID", ge=0, le=10**9)] = 0,
) -> StreamingResponse:
    """Follow a job's progress as server-sent events; resume with Last-Event-ID. Lines appear at fixed ticks only."""
    found = await _decided(job, reader, state)
    record = found.record

    async def still_may() -> bool:
        try:
            await get_caller(request)
        except UnauthenticatedError:
            return False
        return await reader.still_may(Action.JOB_READ, **_facts(found, reader))

    return StreamingResponse(
        _lines(state, reader.caller.tenant, record.id, last, still_may),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/jobs/{job}/cancel", operation_id="cancelJob", response_model=JobView)
async def post_cancel(job: JobRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """Cancel a job. What was started is charged; a job that never touched data gives its hold back."""
    record = granted(await state.writes(cancel_job, state.on, caller, JobId(job)))
    return shown(_visible_view(await state.reads(visible_job, state.on, caller.tenant, record.id)))


@router.post("/jobs/{job}/approval", operation_id="answerApproval", response_model=JobView)
async def post_approval(job: JobRef, body: AnswerApproval, caller: CurrentCaller, state: State) -> JSONResponse:
    """Say yes or no to a job that waits for its owner; the answer binds the digest of the exact request.

    An exact result of several sites waits for the owner of each dataset, and for another person beside each of them.
    """
    verdict, digest = ApprovalVerdict(body.verdict), Digest(body.request_digest)
    found = await state.reads(visible_job, state.on, caller.tenant, JobId(job))
    if of_sites(found.record.kind):
        answered = granted(await state.writes(answer_collection, state.on, caller, JobId(job), verdict, digest))
        return shown(job_view(answered))
    if is_inference({"kind": found.record.kind}):
        replied = granted(await state.writes(answer_inference, state.on, caller, JobId(job), verdict, digest))
        return shown(job_view(replied))
    graph = None if body.graph is None else Digest(body.graph)
    record = granted(await state.writes(answer_approval, state.on, caller, JobId(job), verdict, digest, graph))
    return shown(job_view(record))


async def _decided(job: str, reader: CurrentReader, state: State) -> VisibleJob:
    found = await state.reads(visible_job, state.on, reader.caller.tenant, JobId(job))
    await reader.decide(Action.JOB_READ, **_facts(found, reader))
    return found


def _facts(found: VisibleJob, reader: CurrentReader) -> dict[str, Any]:
    snapshot = reader.state.on.decider.snapshot(reader.caller.tenant)
    dataset = concerned(snapshot, found.datasets, reader.principal)
    return {"dataset": dataset, "requester": found.record.principal, "job": found.record.id}


async def _lines(
    state: State, tenant: TenantId, job: JobId, last: int, still_may: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """The lines behind `last` as they become visible, until the job's end or until its reader may read no more."""
    silent = 0
    while True:
        for line in await state.reads(new_lines, state.on, job, last):
            last, silent = line.seq, 0
            data = {"state": line.state.value, "percent": line.percent}
            yield format_sse_event(data_str=canonical.encode(data).decode("utf-8"), event="progress", id=str(line.seq))
            if line.state.ended:
                return
        if (ended := await _ended_unseen(state, tenant, job)) is not None:
            yield format_sse_event(data_str=canonical.encode(ended).decode("utf-8"), event="progress", id=str(last))
            return
        silent += 1
        if silent % KEEP_ALIVE_POLLS == 0:
            if not await still_may():
                return
            yield b": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


async def _ended_unseen(state: State, tenant: TenantId, job: JobId) -> dict[str, Any] | None:
    """The end of a job that has no further line: refused or cancelled before it started, or resumed after its last."""
    found = await state.reads(visible_job, state.on, tenant, job)
    return {"state": found.state.value, "percent": found.percent} if found.state.ended else None


def job_view(record: JobRecord) -> JobView:
    """Show a job that has not started."""
    datasets = tuple(DatasetId(dataset) for dataset in record.spec.get("datasets", ()))
    return _visible_view(VisibleJob(record, record.state, 0, datasets))


def _visible_view(job: VisibleJob) -> JobView:
    record = job.record
    return JobView(
        job=record.id,
        kind=record.kind,
        state=job.state.value,
        percent=job.percent,
        dataset=record.dataset,
        purpose=record.purpose,
        epsilon=record.epsilon,
        request_digest=record.request_digest,
        created_at=format_time(record.created_at),
        release=record.release if job.state is JobState.FINISHED else None,
        principal=record.principal,
        model=_model_view(record),
        datasets=[str(dataset) for dataset in job.datasets] if len(job.datasets) > 1 else None,
    )


def _model_view(record: JobRecord) -> dict[str, Any] | None:
    """What is trained, from the stored plan: digest and size of the graph, and how it is run."""
    plan = record.plan.get("training", record.plan)
    if "graph" not in plan:
        return None
    return {"graph": plan["graph"], "size": plan["size"], "engine": plan["engine"]} | {
        "clipping": plan["recipe"]["clipping"]
    }


def _asking(request: Mapping[str, Any]) -> Callable[..., Any]:
    """The use case that a request is for."""
    if is_inference(request):
        return request_inference
    if is_blind(request):
        return request_blind
    return request_collection if is_collection(request) else request_job


def _written_quote(spec: CollectionSpec | InferenceSpec | BlindSpec, fields: Mapping[str, Any]) -> QuoteView:
    return QuoteView(quote=dict(fields), spec=spec.to_json(), request_digest=spec.digest)


def _quote_view(quoted: Quoted) -> QuoteView:
    spec = quoted.planned.spec
    return QuoteView(quote=quoted.quote.to_fields(), spec=spec.to_json(), request_digest=spec.digest)

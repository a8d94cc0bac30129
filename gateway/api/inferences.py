"""Routes of jobs on encrypted rows: what a question must be, and sending it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import BinaryIO, cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, shown
from gateway.api.bodies import JobRef
from gateway.api.body_reader import BodyReader, declared_length
from gateway.api.deps import CurrentReader, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import QuestionTermsView, QuestionView
from gateway.records import JobRecord
from gateway.services.deciding import Caller
from gateway.services.inferences.asking import Received, longest_question, put_question, terms_of
from gateway.services.job_views import visible_job
from kernel.errors import TooLargeError
from kernel.ids import JobId
from policies.decisions import Deny
from policies.vocabulary import Action

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)
QUESTION_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/{job}/question", operation_id="readQuestion", response_model=QuestionTermsView)
async def read_question(job: JobRef, reader: CurrentReader, state: State) -> JSONResponse:
    """What a question of this job must be: its request, the model's features, and the columns that they are of."""
    terms = await state.reads(terms_of, state.on, await _decided(job, reader, state))
    return shown(QuestionTermsView(**terms))


@router.put(
    "/{job}/question",
    operation_id="sendQuestion",
    status_code=202,
    response_model=QuestionView,
    openapi_extra=QUESTION_BODY,
)
async def send_question(job: JobRef, request: Request, reader: CurrentReader, state: State) -> JSONResponse:
    """Send the question as the raw body: a signed document, keys and ciphertexts. It is judged as it arrives."""
    identifier = (await _decided(job, reader, state)).id
    longest = await state.reads(longest_question, state.on, reader.caller, identifier)
    if declared_length(request) > longest:
        raise TooLargeError(f"a question of this job has at most {longest} bytes", field="content")
    received = granted(await _streamed(state, reader.caller, identifier, request))
    return shown(QuestionView(job=received.job.id, question=str(received.question)), 202)


async def _decided(job: str, reader: CurrentReader, state: State) -> JobRecord:
    record = (await state.reads(visible_job, state.on, reader.caller.tenant, JobId(job))).record
    await reader.decide(Action.JOB_READ, dataset=record.dataset, requester=record.principal, job=record.id)
    return record


async def _streamed(state: State, caller: Caller, job: JobId, request: Request) -> Received | Deny:
    reader = BodyReader()
    feeding = asyncio.create_task(reader.feed(request))
    try:
        return await state.uploads(put_question, state.on, caller, job, cast(BinaryIO, reader))
    finally:
        reader.abandon()
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding

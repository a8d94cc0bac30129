"""Routes: the log, for auditors; checkpoint and trust file for every member."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, raw_answer, shown
from gateway.api.deps import CurrentCaller, CurrentReader, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import EntryView, TrustView
from gateway.services import log_reading
from policies.vocabulary import Action

router = APIRouter(prefix="/v1", tags=["log"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)
PAGE = 100
PIECE = 1 << 18


@router.get("/trust", operation_id="readTrust", response_model=TrustView)
async def read_trust(reader: CurrentReader, state: State) -> JSONResponse:
    """What to pin at enrolment: keys, origin, newest checkpoint. Compare it with the operator's on another channel."""
    await reader.decide(Action.POLICY_READ)
    trust = await state.reads(log_reading.trust_file, state.on, reader.caller.tenant)
    return shown(TrustView(trust=json.loads(trust.to_bytes())))


@router.get(
    "/log/checkpoint", operation_id="readCheckpoint", response_class=Response, responses=raw_answer("text/plain")
)
async def read_checkpoint(reader: CurrentReader, state: State) -> Response:
    """The newest signed checkpoint (C2SP tlog-checkpoint)."""
    await reader.decide(Action.POLICY_READ)
    note = await state.reads(log_reading.newest_checkpoint, state.on)
    return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get(
    "/log/{path:path}",
    operation_id="readTile",
    response_class=Response,
    responses=raw_answer("application/octet-stream"),
)
async def read_tile(path: str, caller: CurrentCaller, state: State) -> Response:
    """A tile or entry bundle (C2SP tlog-tiles), for example `tile/0/000` or `tile/entries/000.p/17`."""
    data = granted(await state.writes(log_reading.read_tile, state.on, caller, path))
    return Response(data, media_type="application/octet-stream")


@router.get("/entries", operation_id="readEntries", response_model=list[EntryView])
async def read_entries(
    caller: CurrentCaller,
    state: State,
    first: Annotated[int, Query(ge=0, le=2**53 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=log_reading.MOST_ENTRIES)] = PAGE,
) -> JSONResponse:
    """The tenant's entries from its counter `first` on: payloads with what opens their leaves."""
    openings = granted(await state.writes(log_reading.read_entries, state.on, caller, first, limit))
    return JSONResponse([json.loads(opening.line()) for opening in openings])


@router.get(
    "/archive",
    operation_id="exportArchive",
    response_class=StreamingResponse,
    responses=raw_answer("application/x-tar"),
)
async def export_archive(caller: CurrentCaller, state: State) -> StreamingResponse:
    """The tenant's whole history as one tar file, to be verified offline. See docs/formats/archive.md."""
    archive = granted(await state.writes(log_reading.export_archive, state.on, caller))
    return StreamingResponse(_pieces(archive.content), media_type="application/x-tar")


def _pieces(content: BinaryIO) -> Iterator[bytes]:
    with content:
        while piece := content.read(PIECE):
            yield piece

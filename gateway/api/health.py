"""Routes: probes for the orchestrator. They say which part is down and nothing about what it holds."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.api.deps import State
from gateway.api.edge import METRICS
from gateway.api.views import Health
from gateway.services.collaborators import Collaborators
from kernel.errors import PrivgateError

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="live", response_model=Health)
async def live() -> JSONResponse:
    """The process answers."""
    return JSONResponse(Health(status="ok", parts={}).model_dump())


@router.get("/readyz", operation_id="ready", response_model=Health, responses={503: {"model": Health}})
async def ready(state: State) -> JSONResponse:
    """Database, keyring, journal and sequencer work."""
    return await _health(state)


@router.get("/healthz", operation_id="health", response_model=Health, responses={503: {"model": Health}})
async def health(state: State) -> JSONResponse:
    """The same, under the name that load balancers and monitors ask for: all that answering a request needs."""
    return await _health(state)


@router.get("/startupz", operation_id="started", response_model=Health)
async def started() -> JSONResponse:
    """The app was wired; migrations were at their head."""
    return JSONResponse(Health(status="ok", parts={}).model_dump())


@router.get("/metrics", operation_id="metrics", response_class=PlainTextResponse, include_in_schema=False)
async def metrics() -> PlainTextResponse:
    """Counters by route template and reason; no label names a tenant, a principal, a dataset or a job."""
    return PlainTextResponse(generate_latest(METRICS).decode("utf-8"), media_type=CONTENT_TYPE_LATEST)


async def _health(state: State) -> JSONResponse:
    parts = await state.probes(_parts, state.on)
    parts |= {"journal": state.journal.alive, "sequencer": state.sequencer.healthy}
    good = all(parts.values())
    found = Health(status="ok" if good else "unavailable", parts=parts)
    return JSONResponse(found.model_dump(), status_code=200 if good else 503)


def _parts(on: Collaborators) -> dict[str, bool]:
    parts = {"database": False, "keyring": False}
    try:
        with on.database.read() as reading:
            reading.policy.heads()
        parts["database"] = True
        parts["keyring"] = on.keyring.generation > 0
    except (PrivgateError, OSError):
        return parts
    return parts

"""The API: routes, problems and the edge around a wired gateway.

Rules
-----
1. The app is made by `create_app` and by nothing else; importing this module builds nothing.
2. No document of the API needs a network: the OpenAPI page is served as JSON alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway.api import (
    datasets,
    governance,
    health,
    inferences,
    jobs,
    log,
    openapi,
    parties,
    people,
    populations,
    problems,
    releases,
    reports,
)
from gateway.api.edge import Edge
from gateway.api.offload import Offload
from gateway.api.state import ApiState
from gateway.journal import Journal
from gateway.policy_poll import PolicyPoll
from gateway.sequencer_loop import SequencerLoop
from gateway.services.authenticating import Authenticator
from gateway.storage.engine import is_sqlite_url
from gateway.wiring import Gateway

ROUTERS = (people, governance, populations, datasets, parties, jobs, inferences, releases, log, reports, health)
POLL_SECONDS = 0.5
WRITERS = 8
READERS = 4
UPLOADS = 4
QUEUE = 256
PROBES = 16


def create_app(gateway: Gateway) -> FastAPI:
    """Build the API of a wired gateway."""
    on, settings = gateway.on, gateway.settings
    sequencer = SequencerLoop(gateway.sequencer, gateway.engine, settings.sequencer_interval_ms / 1000)
    state = ApiState(
        on=on,
        authenticator=Authenticator(on.database, on.clock),
        journal=Journal(on.database, on.entropy),
        sequencer=sequencer,
        writes=Offload(1 if is_sqlite_url(settings.database) else WRITERS, QUEUE),
        reads=Offload(READERS, QUEUE),
        uploads=Offload(UPLOADS, 0),
        probes=Offload(1, PROBES),
    )
    poll = PolicyPoll(gateway.cache, POLL_SECONDS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.journal.start()
        sequencer.start()
        poll.start()
        yield
        poll.stop()
        state.journal.stop()
        for pool in (state.uploads, state.writes, state.reads, state.probes):
            pool.close()
        sequencer.stop()
        gateway.close()

    app = FastAPI(
        title="Privgate",
        version=on.software.version,
        summary="A privacy-preserving data governance gateway",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
        redirect_slashes=False,
        # Given flat: an included router looks for its route twice in each request.
        routes=[route for module in ROUTERS for route in module.router.routes],
    )
    app.state.privgate = state
    problems.install(app)
    openapi.install(app)
    app.add_middleware(Edge)
    return app

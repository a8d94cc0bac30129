"""The app of the second listener. It shares threads and collaborators with the API, and has none of its routes.

Rules
-----
1. Its lifespan is the API's: it is started after and stopped before it.
2. It has no document of its own and no probe: only parties connect to it.
"""

from __future__ import annotations

from fastapi import FastAPI

from gateway.api import problems
from gateway.api.edge import Edge
from gateway.api.state import ApiState
from gateway.channel import certificates, datasets, documents

ROUTERS = (documents, datasets, certificates)


def create_channel(state: ApiState) -> FastAPI:
    """Build the app for parties beside the API whose state this is."""
    app = FastAPI(
        title="Privgate, for parties",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        routes=[route for module in ROUTERS for route in module.router.routes],
    )
    app.state.privgate = state
    problems.install(app)
    app.add_middleware(Edge)
    return app

"""Routes that are called directly answer as FastAPI would have them answered."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from gateway.api.deps import CurrentCaller, CurrentReader, Key, State, get_caller
from gateway.api.direct import called_directly
from gateway.app import ROUTERS
from tests.support.api import House, refused

router = APIRouter()


@router.get("/with-query")
async def with_query(caller: CurrentCaller, after: Annotated[str, Query()] = "") -> Response:
    """Asks for a part of the query."""
    return Response()


@router.get("/with-header")
async def with_header(caller: CurrentCaller, key: Key) -> Response:
    """Asks for a dependency that reads a header."""
    return Response()


@router.get("/with-request")
async def with_request(state: State, request: Request) -> Response:
    """Asks for the request itself."""
    return Response()


@router.get("/with-tasks")
async def with_tasks(state: State, tasks: BackgroundTasks) -> Response:
    """Asks for something to be done afterwards."""
    return Response()


@router.get("/with-response")
async def with_response(state: State, response: Response) -> Response:
    """Asks for the response that FastAPI prepares."""
    return Response()


@router.get("/with-value", response_model=None)
async def with_value(state: State) -> dict[str, str]:
    """Leaves it to FastAPI to write the answer."""
    return {}


@router.get("/guarded", dependencies=[Depends(get_caller)])
async def guarded(state: State) -> Response:
    """Demands a caller without asking for it by name: left out, anybody could call."""
    return Response()


@router.get("/beside", dependencies=[Depends(lambda: None)])
async def beside(state: State) -> Response:
    """Has a further dependency beside its arguments."""
    return Response()


@router.get("/simple/{part}")
async def simple(part: str, reader: CurrentReader, state: State) -> JSONResponse:
    """Asks for nothing special."""
    return JSONResponse({})


async def _otherwise(_: Request) -> Response:
    return Response(status_code=418)


def _direct(route: Any) -> bool:
    assert isinstance(route, APIRoute)
    return called_directly(route.dependant, _otherwise) is not _otherwise


@pytest.mark.parametrize("route", router.routes, ids=lambda route: route.path)
def test_only_what_asks_for_nothing_special_is_called_directly(route: APIRoute) -> None:
    """Query, headers, bodies, the request itself and answers that FastAPI writes take FastAPI's way."""
    assert _direct(route) == route.path.startswith("/simple")


def test_reads_of_one_object_are_called_directly() -> None:
    """The reads that a busy client repeats are among them."""
    routes = {route.path for module in ROUTERS for route in module.router.routes if _direct(route)}
    assert {"/v1/self", "/v1/jobs/{job}", "/v1/datasets/{dataset}", "/v1/populations/{population}"} <= routes


def test_a_broken_part_of_the_path_is_refused_as_everywhere(made: House) -> None:
    """422 that names the part; to nobody it is 401, because who asks is looked at first."""
    problem = refused(made["admin"].get("/v1/jobs/nonsense"), 422, "invalid")
    assert problem["field"] == "job"
    refused(made.client.get("/v1/jobs/nonsense"), 401, "unauthenticated")


def test_a_good_part_of_the_path_arrives(made: House) -> None:
    """What the route looks up is what the path says."""
    dataset = made.ids["dataset"]
    assert made["owner"].get(f"/v1/datasets/{dataset}").json()["dataset"] == dataset

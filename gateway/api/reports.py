"""Routes: reports, for those who answer for the record: issued by an auditor, read by auditor, owner, administrator."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from compliance.events import ReportForm
from gateway.api.answers import PROBLEM_RESPONSES, granted, once_in_steps, page_links, raw_answer
from gateway.api.bodies import IssueReport, ReportRef
from gateway.api.deps import CurrentCaller, CurrentReader, Key, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import ReportView
from gateway.records import ReportRecord
from gateway.services import reports
from gateway.services.idempotency import Alongside
from kernel.clock import format_time
from kernel.errors import NotFoundError
from kernel.ids import ReportId
from policies.decisions import Deny
from policies.vocabulary import Action

router = APIRouter(prefix="/v1/reports", tags=["reports"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)
PAGE = 50

FILES = {
    "report.json": (ReportForm.ENVELOPE, "application/json"),
    "report.html": (ReportForm.HTML, "text/html; charset=utf-8"),
}
FILE_ANSWER = raw_answer("application/json", "text/html")


@router.post("", operation_id="issueReport", response_model=ReportView, status_code=201)
async def post_report(body: IssueReport, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Derive a report from the log, sign it and keep it. It is a function of period, frameworks and log alone."""
    wanted = reports.Wanted.of(body.from_size, body.until_size, [str(name) for name in body.frameworks])

    async def issue(alongside: Alongside[ReportRecord]) -> ReportRecord | Deny:
        begun = await state.writes(reports.begin_report, state.on, caller, wanted)
        if isinstance(begun, Deny):
            return begun
        # Waiting for the log happens among the readings: the writers, of which SQLite has one, stay free.
        built = await state.reads(reports.build_signed, state.on, caller.tenant, begun)
        return await state.writes(reports.store_report, state.on, caller, built, alongside=alongside)

    request = {"route": "issueReport", "body": body.model_dump(mode="json")}
    return await once_in_steps(state, caller, key, request, 201, report_view, issue)


@router.get("", operation_id="listReports", response_model=list[ReportView])
async def list_reports(
    reader: CurrentReader,
    state: State,
    after: Annotated[ReportRef | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> JSONResponse:
    """Reports that were issued."""
    await reader.decide(Action.REPORT_READ)
    found = await state.reads(reports.list_reports, state.on, reader.caller.tenant, after, limit)
    last = found[-1].id if len(found) == limit else None
    return JSONResponse(
        [report_view(record).model_dump(mode="json") for record in found], headers=page_links("/v1/reports", last)
    )


@router.get("/{report}/files/{name}", operation_id="fetchReport", response_class=Response, responses=FILE_ANSWER)
async def fetch_report(report: ReportRef, name: str, caller: CurrentCaller, state: State) -> Response:
    """Fetch `report.json` (the signed document, DSSE) or `report.html` (a rendering of it to read and print)."""
    if name not in FILES:
        raise NotFoundError("a report has the files " + ", ".join(FILES))
    form, media = FILES[name]
    content = granted(await state.writes(reports.read_report, state.on, caller, ReportId(report), form))
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media, headers=headers)


def report_view(record: ReportRecord) -> ReportView:
    """Show a report."""
    return ReportView(report=record.id, digest=record.digest, created_at=format_time(record.created_at))

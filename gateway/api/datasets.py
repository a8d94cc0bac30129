"""Routes: datasets, their cards, uploads and versions."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, once, page_links, shown
from gateway.api.bodies import DatasetRef, RegisterDataset, VersionRef
from gateway.api.body_reader import BodyReader, declared_length
from gateway.api.deps import CurrentCaller, CurrentReader, Key, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import DatasetView, Done, VersionView
from gateway.records import DatasetRecord, VersionRecord, VersionState
from gateway.services import datasets
from gateway.services import erase_version as erasing
from gateway.services.collaborators import Collaborators
from gateway.services.datasets import NewDataset
from gateway.services.owner_facts import sealed_rows
from gateway.unit_of_work import Reading
from kernel.clock import format_time, parse_time
from kernel.errors import InvalidError, TooLargeError
from kernel.ids import DatasetId, PartyId, PopulationId, Slug, TenantId, VersionId
from policies.datasets import GovernedDataset
from policies.vocabulary import Action, LegalBasis, Sensitivity
from privacy.budget.balances import Account
from privacy.ingest.formats import UploadFormat
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)
PAGE = 50
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file as it is: CSV, Parquet or JSON Lines.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
Found = tuple[DatasetRecord, Account, int]
"""A dataset, its population's account, and the home block of its rows."""


@router.post("", operation_id="registerDataset", status_code=201, response_model=DatasetView)
async def register_dataset(body: RegisterDataset, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Declare a dataset: schema, unit, purposes, basis, retention. No row has been seen."""
    request = {"route": "registerDataset", "body": body.model_dump(mode="json", by_alias=True)}
    declared = _declared(body)
    account = await state.reads(_account, state.on, declared.population)
    register = datasets.register_dataset
    return await once(
        state,
        caller,
        key,
        request,
        201,
        lambda record: _new_view(record, account, declared),
        register,
        state.on,
        caller,
        declared,
    )


@router.get("", operation_id="listDatasets", response_model=list[DatasetView])
async def list_datasets(
    reader: CurrentReader,
    state: State,
    after: Annotated[DatasetRef | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> JSONResponse:
    """The catalogue: cards of all datasets that you may know of."""
    await reader.decide(Action.DATASET_LIST)
    found = await state.reads(_page, state.on, reader.caller.tenant, after, limit)
    known = state.on.decider.snapshot(reader.caller.tenant).datasets
    views = [_view(known[record.id], record, account, home) for record, account, home in found if record.id in known]
    last = found[-1][0].id if len(found) == limit else None
    body = [view.model_dump(mode="json") for view in views]
    return JSONResponse(body, headers=page_links("/v1/datasets", last))


@router.get("/{dataset}", operation_id="readDataset", response_model=DatasetView)
async def read_dataset(dataset: DatasetRef, reader: CurrentReader, state: State) -> JSONResponse:
    """A dataset's card."""
    identifier = DatasetId(dataset)
    await reader.decide(Action.DATASET_READ, dataset=identifier)
    record, account, home = await state.reads(_one, state.on, reader.caller.tenant, identifier)
    governed = state.on.decider.snapshot(reader.caller.tenant).datasets[identifier]
    return shown(_view(governed, record, account, home), ETag=f'"{record.row_version}"')


@router.put(
    "/{dataset}/content",
    operation_id="uploadDataset",
    status_code=202,
    response_model=VersionView,
    openapi_extra=UPLOAD_BODY,
)
async def upload_dataset(
    dataset: DatasetRef,
    request: Request,
    caller: CurrentCaller,
    state: State,
    form: Annotated[str, Query(alias="format", pattern="^(csv|parquet|jsonl)$")] = "csv",
    header: bool = True,
    delimiter: Annotated[str, Query(min_length=1, max_length=1)] = ",",
    gzip: bool = False,
) -> JSONResponse:
    """Send the rows as the raw body. They are encrypted as they arrive and sealed by a worker, all or nothing."""
    identifier = DatasetId(dataset)
    described = UploadFormat.of(form, header=header, delimiter=delimiter, gzip=gzip)
    granted(await state.writes(datasets.may_upload, state.on, caller, identifier))
    record = await _stage(state, caller, identifier, described, request)
    return shown(version_view(record, None), 202, Location=f"/v1/datasets/{dataset}/versions/{record.id}")


@router.get("/{dataset}/versions/{version}", operation_id="readVersion", response_model=VersionView)
async def read_version(dataset: DatasetRef, version: VersionRef, reader: CurrentReader, state: State) -> JSONResponse:
    """For the owner alone: where an upload stands, what was wrong with it, how many rows each side of the split has."""
    identifier = DatasetId(dataset)
    await reader.decide(Action.DATASET_INSPECT, dataset=identifier)
    record, rows = await state.reads(_version, state.on, reader.caller.tenant, identifier, VersionId(version))
    return shown(version_view(record, rows))


@router.get("/{dataset}/versions", operation_id="listVersions", response_model=list[VersionView])
async def list_versions(dataset: DatasetRef, reader: CurrentReader, state: State) -> JSONResponse:
    """For the owner alone: all uploads of a dataset, the oldest first; what each holds is told one by one."""
    identifier = DatasetId(dataset)
    await reader.decide(Action.DATASET_INSPECT, dataset=identifier)
    found = await state.reads(_versions, state.on, reader.caller.tenant, identifier)
    return JSONResponse([version_view(record, None).model_dump(mode="json") for record in found])


@router.delete("/{dataset}/versions/{version}", operation_id="eraseVersion", response_model=Done)
async def erase_version(dataset: DatasetRef, version: VersionRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """Destroy the key of a version that jobs no longer read: nobody opens its rows again. What is spent stays spent."""
    granted(await state.writes(erasing.erase_version, state.on, caller, DatasetId(dataset), VersionId(version)))
    return shown(Done())


@router.delete("/{dataset}", operation_id="retireDataset", response_model=Done)
async def retire_dataset(dataset: DatasetRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """End a dataset's use. What was spent stays spent."""
    granted(await state.writes(datasets.retire_dataset, state.on, caller, DatasetId(dataset)))
    return shown(Done())


async def _stage(
    state: State, caller: CurrentCaller, dataset: DatasetId, form: UploadFormat, request: Request
) -> VersionRecord:
    if declared_length(request) > state.on.limits.upload_bytes:
        raise TooLargeError("the upload is larger than this gateway takes", field="content")
    reader = BodyReader()
    feeding = asyncio.create_task(reader.feed(request))
    try:
        source = cast(BinaryIO, reader)
        return await state.uploads(datasets.stage_upload, state.on, caller, dataset, form, source)
    finally:
        reader.abandon()
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding


def version_view(record: VersionRecord, rows: dict[str, int] | None) -> VersionView:
    """Show an upload to its owner."""
    return VersionView(
        version=record.id,
        dataset=record.dataset,
        state=record.state.value,
        created_at=format_time(record.created_at),
        problems=None if record.problems is None else dict(record.problems),
        rows=rows,
    )


def _view(governed: GovernedDataset, record: DatasetRecord, account: Account, home: int) -> DatasetView:
    population = account.population
    return DatasetView(
        dataset=record.id,
        title=record.title,
        description=record.description,
        owner=record.owner,
        population=record.population,
        unit_noun=population.unit_noun,
        public_size=population.public_size,
        state=governed.state.value,
        sensitivity=governed.sensitivity.value,
        purposes=list(governed.purposes),
        legal_basis=governed.legal_basis.value,
        retention_until=format_time(governed.retention_until),
        table=dict(record.schema),
        unit=dict(record.unit),
        home_size=account.size(home),
        site=record.site,
        holdout_share=str(population.holdout_share),
        delta=str(population.budget.delta),
        order=population.budget.order,
    )


def _new_view(record: DatasetRecord, account: Account, declared: NewDataset) -> DatasetView:
    """Show a dataset whose registration has not committed yet."""
    governed = GovernedDataset(
        id=record.id,
        tenant=record.tenant,
        owner=record.owner,
        population=record.population,
        sensitivity=declared.sensitivity,
        purposes=declared.purposes,
        legal_basis=declared.legal_basis,
        special_condition=declared.special_condition,
        basis_until=declared.basis_until,
        retention_until=declared.retention_until,
    )
    return _view(governed, record, account, account.homes)


def _declared(body: RegisterDataset) -> NewDataset:
    return NewDataset(
        title=body.title,
        description=body.description,
        population=PopulationId(body.population),
        schema=TableSchema.from_json(body.table),
        unit=PrivacyUnit.from_json(body.unit),
        sensitivity=_one_of(Sensitivity, body.sensitivity, "sensitivity"),
        purposes=tuple(Slug(purpose) for purpose in body.purposes),
        legal_basis=_one_of(LegalBasis, body.legal_basis, "legal_basis"),
        special_condition=(
            None if body.special_condition is None else _one_of(LegalBasis, body.special_condition, "special_condition")
        ),
        basis_until=None if body.basis_until is None else parse_time(body.basis_until, "basis_until"),
        retention_until=parse_time(body.retention_until, "retention_until"),
        site=None if body.site is None else PartyId(body.site),
    )


def _one_of(kind: Any, written: str, field: str) -> Any:
    try:
        return kind(written)
    except ValueError:
        raise InvalidError(f"`{field}` must be one of " + ", ".join(kind), field=field) from None


def _one(on: Collaborators, tenant: TenantId, dataset: DatasetId) -> Found:
    with on.database.read() as reading:
        record = reading.datasets.get(id=dataset, tenant=tenant)
        account = reading.ledger.read(record.population).account
        return record, account, _home_of(reading, record, account)


def _account(on: Collaborators, population: PopulationId) -> Account:
    with on.database.read() as reading:
        return reading.ledger.read(population).account


def _home_of(reading: Reading, record: DatasetRecord, account: Account) -> int:
    """The home block that was open when the rows were sealed; without rows, the one that is open now."""
    if account.homes == 1 or record.current_version is None:
        return account.homes
    return reading.versions.get(id=record.current_version).home


def _page(on: Collaborators, tenant: TenantId, after: str | None, limit: int) -> list[Found]:
    with on.database.read() as reading:
        records = reading.datasets.page(after=after, limit=limit, tenant=tenant)
        known = {p: reading.ledger.read(p).account for p in {r.population for r in records}}
        return [(r, known[r.population], _home_of(reading, r, known[r.population])) for r in records]


def _version(
    on: Collaborators, tenant: TenantId, dataset: DatasetId, version: VersionId
) -> tuple[VersionRecord, dict[str, int] | None]:
    with on.database.read() as reading:
        record = reading.versions.get(id=version, dataset=dataset, tenant=tenant)
    sealed_here = record.state is VersionState.SEALED and record.manifest_blob is not None
    return record, sealed_rows(on, record) if sealed_here else None


def _versions(on: Collaborators, tenant: TenantId, dataset: DatasetId) -> list[VersionRecord]:
    with on.database.read() as reading:
        reading.datasets.get(id=dataset, tenant=tenant)
        found = reading.versions.all(dataset=dataset, tenant=tenant)
    return sorted(found, key=lambda version: (version.created_at, version.id))

"""Use case: register a dataset, stage an upload, retire.

Rules
-----
1. Registering declares: schema, unit, population, purposes, basis, retention. No row has been seen.
2. An upload is staged encrypted under a key of its own, streamed and bounded; it is sealed by a worker, all or nothing.
3. Everything of one population draws on one budget: registering the same file again frees nothing.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, cast

from gateway.records import DatasetRecord, TaskKind, TaskRecord, TaskState, VersionRecord, VersionState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.parties import acting_party
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.services.populations import holder_of
from gateway.unit_of_work import Work
from kernel.checks import text
from kernel.clock import require_ahead
from kernel.errors import ConflictError, InvalidError, PrivgateError, TooLargeError
from kernel.ids import DatasetId, DekId, PartyId, PopulationId, Slug, TaskId, VersionId
from policies.decisions import Deny
from policies.events import DatasetMoved, DatasetRegistered
from policies.vocabulary import Action, DatasetState, LegalBasis, Sensitivity
from privacy.budget.populations import Population
from privacy.events.sealing import DekCreated, KeyPurpose, SchemaDeclared, VersionStaged
from privacy.homomorphic.documents.parties import PartyKind
from privacy.ingest.formats import UploadFormat
from privacy.schema import ColumnKind, TableSchema
from privacy.sealing.chunked import BlobKind, ChunkedWriter, blob_context
from privacy.sealing.deks import Label, new_dek, subkey
from privacy.sealing.lifecycle import DekRecord, wrap_dek
from privacy.sealing.secret import SecretBytes
from privacy.sealing.stores import BlobPath
from privacy.sealing.wrapping import KeyContext
from privacy.units import PrivacyUnit, UnitKind

PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataset:
    """What an owner declares about a dataset."""

    title: str
    description: str
    population: PopulationId
    schema: TableSchema
    unit: PrivacyUnit
    sensitivity: Sensitivity
    purposes: tuple[Slug, ...]
    legal_basis: LegalBasis
    special_condition: LegalBasis | None
    basis_until: datetime | None
    retention_until: datetime
    site: PartyId | None = None


def register_dataset(
    on: Collaborators, caller: Caller, declared: NewDataset, *, alongside: Alongside[DatasetRecord] = nothing_else
) -> DatasetRecord | Deny:
    """Register a dataset on one of the caller's populations."""
    text(200, title=declared.title)
    require_ahead(on.clock.now(), retention_until=declared.retention_until, basis_until=declared.basis_until)
    with on.database.work(caller.tenant) as work:
        population = work.ledger.read(declared.population).account.population
        holder = holder_of(population, caller)
        answer = on.decider.decide_in(
            work, caller, Action.DATASET_REGISTER, enacts=True, population=declared.population, holder=holder
        )
        if (denial := answer.denial) is not None:
            work.commit("register-denied")
            return denial
        check_unit(declared.schema, declared.unit, population)
        _check_site(on, work, caller, declared)
        record = _record(on, caller, declared, work.now)
        work.datasets.insert(record)
        on.decider.enact(work, lambda epoch: _registered(epoch, record, declared), answer.actor)
        work.record(
            SchemaDeclared(
                dataset=record.id,
                population=record.population,
                schema=declared.schema.digest,
                unit_kind=declared.unit.kind,
                rows_per_unit=declared.unit.rows_per_unit,
                site=declared.site,
            ),
            actor=answer.actor,
        )
        alongside(work, record)
        work.commit("register")
    return record


def may_upload(on: Collaborators, caller: Caller, dataset: DatasetId) -> Deny | None:
    """Decide about an upload before its first byte is read."""
    with on.database.work(caller.tenant) as work:
        record = work.datasets.get(id=dataset, tenant=caller.tenant)
        answer = on.decider.decide_in(work, caller, Action.DATASET_UPLOAD, dataset=dataset)
        work.commit("upload-decided")
    if answer.denial is None and record.site is not None:
        raise ConflictError("the rows of this dataset stay with their site, which attests them", field="dataset")
    return answer.denial


def stage_upload(
    on: Collaborators, caller: Caller, dataset: DatasetId, form: UploadFormat, source: BinaryIO
) -> VersionRecord:
    """Encrypt an upload as it arrives, and queue its sealing. Call `may_upload` first.

    Raises:
        TooLargeError: More bytes than the gateway takes; nothing is kept.
        ConflictError: The dataset is being sealed already, or is retired.
    """
    version, dek_id = VersionId.new(on.entropy), DekId.new(on.entropy)
    context = KeyContext(tenant=caller.tenant, dek=dek_id, purpose=KeyPurpose.UPLOAD, dataset=dataset, version=version)
    path = BlobPath.of("staged", version)
    with new_dek(on.entropy) as dek:
        wrapped = wrap_dek(context, dek, on.keyring)
        place = blob_context(BlobKind.UPLOAD, caller.tenant, version)
        body = EncryptedBody(source, subkey(dek, Label.BLOB), place, on.limits.upload_bytes)
        on.blobs.put_new(path, cast(BinaryIO, body))
    try:
        return _queue_sealing(on, caller, dataset, form, path, wrapped)
    except PrivgateError:  # nothing was committed; after any other error that is not known, and the blob may be needed
        on.blobs.delete(path)
        raise


def retire_dataset(on: Collaborators, caller: Caller, dataset: DatasetId) -> Deny | None:
    """End a dataset's use: no further jobs. What was spent stays spent."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.DATASET_RETIRE, enacts=True, dataset=dataset)
        if answer.denial is None:
            before = answer.snapshot.datasets[dataset].state
            on.decider.enact(work, lambda e: _moved(e, dataset, before, DatasetState.RETIRED), answer.actor)
        work.commit("retire")
    return answer.denial


class EncryptedBody(io.RawIOBase):
    """A readable stream of ciphertext over a readable stream of plaintext, bounded."""

    def __init__(self, source: BinaryIO, key: SecretBytes, context: bytes, limit: int) -> None:
        self._source = source
        self._out = io.BytesIO()
        self._writer: ChunkedWriter | None = ChunkedWriter(self._out, key, context)
        self._left = limit

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return some ciphertext; nothing at the end."""
        while self._writer is not None and self._out.tell() == 0:
            self._pump(self._writer)
        ready = self._out.getvalue()
        taken = ready if size is None or size < 0 else ready[:size]
        self._out.seek(0)
        self._out.truncate()
        self._out.write(ready[len(taken) :])
        return taken

    def _pump(self, writer: ChunkedWriter) -> None:
        piece = self._source.read(PIECE)
        self._left -= len(piece)
        if self._left < 0:
            raise TooLargeError("the upload is larger than this gateway takes", field="content")
        if piece:
            writer.write(piece)
        else:
            writer.finish()
            self._writer = None


def check_unit(schema: TableSchema, unit: PrivacyUnit, population: Population) -> None:
    """Raise `InvalidError` unless the dataset's unit is the population's and its column exists as an identifier."""
    if unit.kind is not population.unit_kind:
        raise InvalidError("the dataset's unit must be the population's: the same `kind`", field="unit")
    if unit.kind is UnitKind.COLUMN:
        column = schema.column(unit.column or "", "unit.column")
        if column.kind is not ColumnKind.IDENTIFIER or column.fill is not None:
            raise InvalidError("the unit's column must be declared as an identifier", field="unit")


def _check_site(on: Collaborators, work: Work, caller: Caller, declared: NewDataset) -> None:
    """Whether rows are sealed here or stay with a site is one answer for a whole population, by its owner's own site.

    Nobody could tell units that meet in both.
    """
    others = {record.site for record in work.datasets.all(population=declared.population)}
    if others - {declared.site}:
        raise ConflictError("the population has datasets that are kept elsewhere: use another population", field="site")
    if declared.site is not None:
        party = acting_party(on, work, caller.tenant, declared.site, PartyKind.SITE)
        if party.owner != caller.principal:
            raise InvalidError("`site` must be a site of yours", field="site")


def _queue_sealing(
    on: Collaborators, caller: Caller, dataset: DatasetId, form: UploadFormat, path: BlobPath, dek: DekRecord
) -> VersionRecord:
    version, wrapped = dek.context.version, dek.wrapped
    assert version is not None
    assert wrapped is not None
    with on.database.work(caller.tenant) as work:
        record = VersionRecord(
            id=version,
            dataset=dataset,
            tenant=caller.tenant,
            state=VersionState.STAGED,
            format=form.to_json(),
            staged_blob=str(path),
            staged_dek=dek.context.dek,
            created_by=caller.principal,
            created_at=work.now,
        )
        epoch = work.policy.lock(caller.tenant)
        snapshot = on.decider.at_head(work, epoch)
        actor = on.decider.actor(snapshot, caller.principal)
        before = snapshot.datasets[dataset].state
        on.decider.enact(work, lambda e: _moved(e, dataset, before, DatasetState.SEALING), actor)
        work.deks.add(dek)
        work.versions.insert(record)
        work.tasks.enqueue(_task(on, caller, version, work.now))
        created = DekCreated(
            dek=dek.context.dek, purpose=KeyPurpose.UPLOAD, kek_version=wrapped.kek_version, version=version
        )
        work.record(created, actor=actor)
        work.record(VersionStaged(version=version, dataset=dataset, dek=dek.context.dek), actor=actor)
        work.commit("stage")
    return record


def _task(on: Collaborators, caller: Caller, version: VersionId, now: datetime) -> TaskRecord:
    return TaskRecord(
        id=TaskId.new(on.entropy),
        tenant=caller.tenant,
        kind=TaskKind.SEAL,
        subject=str(version),
        state=TaskState.QUEUED,
        created_at=now,
    )


def _record(on: Collaborators, caller: Caller, declared: NewDataset, now: datetime) -> DatasetRecord:
    return DatasetRecord(
        id=DatasetId.new(on.entropy),
        tenant=caller.tenant,
        population=declared.population,
        owner=caller.principal,
        title=declared.title,
        description=declared.description,
        schema=declared.schema.to_json(),
        unit=declared.unit.to_json(),
        site=declared.site,
        created_at=now,
    )


def _registered(epoch: int, record: DatasetRecord, declared: NewDataset) -> DatasetRegistered:
    return DatasetRegistered(
        epoch=epoch,
        dataset=record.id,
        owner=record.owner,
        population=record.population,
        sensitivity=declared.sensitivity,
        purposes=declared.purposes,
        legal_basis=declared.legal_basis,
        special_condition=declared.special_condition,
        basis_until=declared.basis_until,
        retention_until=declared.retention_until,
    )


def _moved(epoch: int, dataset: DatasetId, before: DatasetState, after: DatasetState) -> DatasetMoved:
    return DatasetMoved(epoch=epoch, dataset=dataset, before=before, after=after)

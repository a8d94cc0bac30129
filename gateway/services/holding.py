"""Holding a release: its sealed artefact, its certificate, and the entries that say so; for whatever settles a job."""

from __future__ import annotations

from gateway.records import JobRecord, ReleaseRecord
from gateway.services.collaborators import Collaborators
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.ids import DekId, ReleaseId, Slug, TenantId
from privacy.events.releases import ReleaseHeld
from privacy.events.sealing import DekCreated, KeyPurpose
from privacy.release.desk import ReleaseState
from privacy.sealing.chunked import BlobKind, blob_context, encrypt_bytes
from privacy.sealing.deks import Label, new_dek, subkey
from privacy.sealing.lifecycle import DekRecord, wrap_dek
from privacy.sealing.stores import BlobPath
from privacy.sealing.wrapping import KeyContext


def seal_artifact(
    on: Collaborators, tenant: TenantId, release: ReleaseId, artifact: bytes
) -> tuple[BlobPath, DekRecord]:
    """Store an artefact encrypted under a key of its own, before the work that holds its release."""
    context = KeyContext(tenant=tenant, dek=DekId.new(on.entropy), purpose=KeyPurpose.RELEASE, release=release)
    path = BlobPath.of("releases", release)
    with new_dek(on.entropy) as key:
        place = blob_context(BlobKind.RELEASE, tenant, release)
        on.blobs.put_new(path, encrypt_bytes(artifact, subkey(key, Label.BLOB), place))
        return path, wrap_dek(context, key, on.keyring)


def hold_release(
    work: Work, job: JobRecord, release: ReleaseId, path: BlobPath, dek: DekRecord, artifact: Digest, signed: bytes
) -> ReleaseRecord:
    """Hold a release beside its certificate, in the work that settles its job."""
    assert dek.wrapped is not None
    record = ReleaseRecord(
        id=release,
        tenant=job.tenant,
        job=job.id,
        principal=job.principal,
        dataset=job.dataset,
        kind=job.kind,
        state=ReleaseState.HELD.value,
        epsilon=job.epsilon,
        artifact_blob=str(path),
        artifact_dek=dek.context.dek,
        artifact_digest=artifact,
        certificate=signed,
        certificate_digest=Digest.of(signed),
        created_at=work.now,
    )
    work.deks.add(dek)
    work.releases.insert(record)
    created = DekCreated(
        dek=dek.context.dek, purpose=KeyPurpose.RELEASE, kek_version=dek.wrapped.kek_version, release=release
    )
    work.record(created, correlation=job.id)
    held = ReleaseHeld(
        release=release,
        job=job.id,
        kind=Slug(job.kind),
        artifact=artifact,
        certificate=record.certificate_digest,
    )
    work.record(held, correlation=job.id)
    return record

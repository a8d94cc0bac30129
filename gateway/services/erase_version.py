"""Use case: erase a sealed version. Its data key is destroyed, so that nobody opens its rows again.

Rules
-----
1. What was spent on its people stays spent: the list of their fingerprints and the map of home blocks, which are keyed,
   are kept, so that whoever is uploaded again has neither another budget nor another home (RULES 1, 2, 29).
2. Not the version that jobs would read now: its owner seals one without the erased rows first, or retires the dataset.
3. Not while a job holds budget on it: what its trainer was promised is run or cancelled first.
4. The key is destroyed in the one commit, under the lock of the policy that every request for a job shares. Ciphertext
   is deleted after it; what a crash leaves of it opens with nothing, and is swept (`services.sweep_blobs`).
"""

from __future__ import annotations

from gateway.records import DatasetRecord, VersionRecord, VersionState
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.sweep_blobs import sweep_version
from gateway.unit_of_work import Reading
from kernel.errors import ConflictError
from kernel.ids import DatasetId, DekId, VersionId
from policies.decisions import Deny
from policies.vocabulary import Action, DatasetState
from privacy.events.sealing import DekDestroyed, VersionErased
from privacy.sealing.lifecycle import destroy_dek


def erase_version(on: Collaborators, caller: Caller, dataset: DatasetId, version: VersionId) -> Deny | None:
    """Destroy a version's key and delete its ciphertext; harmless when repeated.

    Raises:
        ConflictError: It was never sealed, jobs would read it, or a job holds budget on it.
        NotFoundError: The tenant's dataset has no such version.
    """
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.DATASET_ERASE, enacts=True, dataset=dataset)
        if answer.denial is None:
            found = work.versions.get(id=version, dataset=dataset, tenant=caller.tenant)
            if found.state is not VersionState.ERASED:
                in_use = answer.snapshot.datasets[dataset].state is not DatasetState.RETIRED
                _require_unused(work, work.datasets.get(id=dataset), found, in_use=in_use)
                dek = found.dek or DekId("")
                work.deks.replace(destroy_dek(work.deks.get(dek), work.now))
                work.versions.change({"id": version}, state=VersionState.ERASED, manifest_blob=None)
                work.record(DekDestroyed(dek=dek), actor=answer.actor)
                work.record(VersionErased(version=version, dataset=dataset, dek=dek), actor=answer.actor)
        work.commit("erase")
    if answer.denial is None:
        sweep_version(on, version)
    return answer.denial


def _require_unused(reading: Reading, dataset: DatasetRecord, version: VersionRecord, *, in_use: bool) -> None:
    if version.state is not VersionState.SEALED:
        raise ConflictError("only a sealed version can be erased", field="version")
    if version.dek is None:
        raise ConflictError("these rows are kept by their site, which erases them itself", field="version")
    if in_use and dataset.current_version == version.id:
        raise ConflictError(
            "this is the version that jobs read: upload one without the rows to erase first, or retire the dataset",
            field="version",
        )
    for job in reading.jobs.all(dataset=dataset.id):
        if job.state.ended:
            continue
        reservation = reading.ledger.read(job.population, job=job.id).reservation
        if reservation is not None and reservation.manifest == version.manifest_digest:
            raise ConflictError("a job holds budget on this version: let it end or cancel it first", field="version")

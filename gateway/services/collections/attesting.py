"""Use case: a site says which rows it will compute on; its dataset then has a version without a row being here.

Rules
-----
1. The site's party acts for the dataset's owner, and is decided as an upload by the owner would be.
2. A version of a site has no blob and no key here. Its manifest is the site's keyed commitment; what it signed is kept.
"""

from __future__ import annotations

from audit.entry import Actor
from gateway.collection_records import PartyRecord
from gateway.records import DatasetRecord, VersionRecord, VersionState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.reading import opened_by
from gateway.services.deciding import Answer, Caller
from gateway.unit_of_work import SYSTEM, Work
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import DatasetId, VersionId
from policies.decisions import Deny
from policies.events import DatasetMoved
from policies.vocabulary import Action, DatasetState
from privacy.events.collections import SiteAttested
from privacy.homomorphic.documents.attestation import Attestation
from privacy.schema import TableSchema

ATTESTATION_LIMIT = 1 << 14
FORMAT = {"custody": "site"}


def attest(on: Collaborators, party: PartyRecord, dataset: DatasetId, data: bytes) -> VersionRecord | Deny:
    """Take a site's attestation; the same again is the same version.

    Raises:
        NotFoundError: No dataset of that id whose rows stay with this party.
        InvalidError: Not this site's attestation of this dataset and its schema.
    """
    with on.database.read() as reading:
        record = reading.datasets.get(id=dataset, tenant=party.tenant)
    if record.site != party.id:
        raise NotFoundError("no such dataset")
    said = opened_by(Attestation, data, party)
    if (said.party, said.dataset, said.schema) != (party.id, dataset, TableSchema.from_json(record.schema).digest):
        raise InvalidError("the attestation is of another party, dataset or schema", field="content")
    caller = Caller(party.tenant, party.owner)
    with on.database.work(party.tenant) as work:
        found = _current(work, work.datasets.get(lock=True, id=dataset))
        if found is not None and found.manifest_digest == said.rows:
            return found
        answer = on.decider.decide_in(work, caller, Action.DATASET_UPLOAD, enacts=True, dataset=dataset)
        if (denial := answer.denial) is not None:
            work.commit("attest-denied")
            return denial
        version = _attested(on, work, party, record, said, answer, data)
        work.commit("attest")
    return version


def _current(work: Work, dataset: DatasetRecord) -> VersionRecord | None:
    return None if dataset.current_version is None else work.versions.get(id=dataset.current_version)


def _attested(
    on: Collaborators,
    work: Work,
    party: PartyRecord,
    dataset: DatasetRecord,
    said: Attestation,
    answer: Answer,
    signed: bytes,
) -> VersionRecord:
    version = VersionRecord(
        id=VersionId.new(on.entropy),
        dataset=dataset.id,
        tenant=party.tenant,
        state=VersionState.SEALED,
        format=FORMAT,
        manifest_digest=said.rows,
        home=work.ledger.read(dataset.population).account.homes,
        attestation=signed,
        created_by=party.owner,
        created_at=work.now,
    )
    before = answer.snapshot.datasets[dataset.id].state
    _move(on, work, dataset.id, before, DatasetState.SEALING, answer.actor)
    _move(on, work, dataset.id, DatasetState.SEALING, DatasetState.SEALED, SYSTEM)
    work.versions.insert(version)
    work.datasets.change({"id": dataset.id}, current_version=version.id)
    event = SiteAttested(
        version=version.id, dataset=dataset.id, population=dataset.population, party=party.id, manifest=said.rows
    )
    work.record(event, actor=answer.actor)
    return version


def _move(
    on: Collaborators, work: Work, dataset: DatasetId, before: DatasetState, after: DatasetState, actor: Actor
) -> None:
    on.decider.enact(work, lambda e: DatasetMoved(epoch=e, dataset=dataset, before=before, after=after), actor)

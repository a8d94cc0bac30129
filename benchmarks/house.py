"""A gateway in this process for measurements: initialised in a directory, with an owner, a trainer and a population."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gateway.initialise import initialise
from gateway.launchers.second_opinion import ask_dp_accounting
from gateway.records import DatasetRecord, VersionRecord, VersionState
from gateway.services import datasets, governance, grants, people, populations
from gateway.services.deciding import Caller
from gateway.settings import Settings
from gateway.wiring import Gateway, build
from gateway.work import confinement_of
from gateway.worker import Worker
from kernel.amounts import Delta, Epsilon, Share
from kernel.ids import Slug
from policies.decisions import Deny
from policies.grants import Obligations
from policies.vocabulary import JobKind, LegalBasis, Role, Sensitivity
from privacy.ingest.formats import UploadFormat
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit, UnitKind
from tests.support.declarations import UNTIL, allowed

PURPOSE = Slug("research")


@dataclass
class House:
    """A gateway with the two people that a measurement needs."""

    gateway: Gateway
    worker: Worker
    owner: Caller
    trainer: Caller

    @classmethod
    def build(cls, folder: Path) -> House:
        """Initialise a gateway and enrol both."""
        settings = Settings(home=folder / "home", tick_seconds=1)
        made = initialise(settings, organisation="Bench", admin="Admin", token_file=folder / "admin.token")
        gateway = build(settings)
        worker = Worker(
            on=gateway.on,
            confinement=confinement_of(settings),
            opinion=ask_dp_accounting,
            name="bench",
            stopping=threading.Event(),
        )
        admin = Caller(made.tenant, made.admin)
        allowed(governance.define_purpose(gateway.on, admin, PURPOSE, ()))
        return cls(gateway, worker, _enrol(gateway, admin, Role.OWNER), _enrol(gateway, admin, Role.TRAINER))

    def dataset(self, schema: dict[str, Any], public_size: int, epsilon: str, delta: str) -> DatasetRecord:
        """A population with one dataset, which the trainer may use."""
        on = self.gateway.on
        population = populations.NewPopulation(
            unit_kind=UnitKind.RECORD,
            unit_noun=Slug("person"),
            unit_domain=Slug("people"),
            public_size=public_size,
            holdout_share=Share.parse("0.2"),
            epsilon=Epsilon.parse(epsilon),
            delta=Delta.parse(delta),
        )
        account = allowed(populations.create_population(on, self.owner, population))
        declared = datasets.NewDataset(
            title="Bench",
            description="",
            population=account.population.id,
            schema=TableSchema.from_json(schema),
            unit=PrivacyUnit(kind=UnitKind.RECORD, noun="person"),
            sensitivity=Sensitivity.INTERNAL,
            purposes=(PURPOSE,),
            legal_basis=LegalBasis.GDPR_PUBLIC_TASK,
            special_condition=None,
            basis_until=None,
            retention_until=UNTIL,
        )
        dataset = allowed(datasets.register_dataset(on, self.owner, declared))
        permitted = grants.NewGrant(
            principal=self.trainer.principal,
            dataset=dataset.id,
            purpose=PURPOSE,
            until=UNTIL,
            job_kinds=(JobKind.TRAINING,),
            obligations=Obligations(trainer_share=Share.parse("1"), approval_required=False),
        )
        allowed(grants.create_grant(on, self.owner, permitted))
        return dataset

    def stage(self, dataset: DatasetRecord, content: BinaryIO) -> VersionRecord:
        """Upload a CSV file; the worker's next step seals it."""
        return datasets.stage_upload(self.gateway.on, self.owner, dataset.id, UploadFormat.of("csv"), content)

    def require_sealed(self, version: VersionRecord) -> VersionRecord:
        """The version, once it is sealed."""
        with self.gateway.on.database.read() as reading:
            found = reading.versions.get(id=version.id)
        if found.state is not VersionState.SEALED:
            raise RuntimeError(f"the benchmark's upload is {found.state.value}")
        return found


def _enrol(gateway: Gateway, admin: Caller, role: Role) -> Caller:
    enrolled = people.enrol(gateway.on, admin, role.value, 30)
    if isinstance(enrolled, Deny):
        raise TypeError("the administrator may enrol")
    allowed(people.assign_role(gateway.on, admin, enrolled.principal, role))
    return Caller(admin.tenant, enrolled.principal)

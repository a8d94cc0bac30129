"""What a request for blind training is read against: declarations and the site, never rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.collection_records import PartyRecord
from gateway.records import DatasetRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.parties import acting_party
from gateway.unit_of_work import Reading
from kernel.errors import ConflictError
from kernel.ids import PartyId, TenantId
from privacy.homomorphic.blind.spec import BlindOpening, BlindPlan, BlindSpec, complete_blind
from privacy.homomorphic.documents.parties import PartyKind
from privacy.schema import TableSchema


@dataclass(frozen=True, slots=True)
class PlannedBlind:
    """A request in its final form, with what site and gateway would compute by."""

    spec: BlindSpec
    plan: BlindPlan
    dataset: DatasetRecord
    party: PartyRecord


def plan_blind(on: Collaborators, reading: Reading, tenant: TenantId, body: Mapping[str, Any]) -> PlannedBlind:
    """Complete a request, in short or in final form.

    Raises:
        InvalidError, TooLargeError: The request breaks a rule of its form, or does not fit what is declared.
        NotFoundError: No such dataset or site.
        ConflictError: A dataset whose rows are sealed here, or a site that was disabled.
    """
    opening = BlindOpening.of(body)
    dataset = reading.datasets.get(id=opening.dataset, tenant=tenant)
    if dataset.site is None:
        raise ConflictError(
            "the rows of this dataset are sealed here: blind training is for rows of a site", field="dataset"
        )
    party = acting_party(on, reading, tenant, PartyId(dataset.site), PartyKind.SITE)
    schema = TableSchema.from_json(dataset.schema)
    spec = complete_blind(body, schema)
    return PlannedBlind(spec, spec.plan(schema), dataset, party)

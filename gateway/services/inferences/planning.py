"""What a request for encrypted inference is read against: the released model and its certificate.

Rules
-----
1. Only a model that was released and not recalled, with a certificate of a charge; no weight is opened here.
2. Its dataset is the one whose owner's grant permits the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.records import ReleaseRecord
from gateway.services.job_facts import training_spec_of
from gateway.unit_of_work import Reading
from kernel.errors import ConflictError
from kernel.ids import ReleaseId, TenantId
from kernel.signing import Envelope
from privacy.graph.spec import ModelGraph
from privacy.homomorphic.inferences.spec import InferenceSpec, complete_inference
from privacy.homomorphic.released import shape_of
from privacy.jobs.features import FeatureSpec
from privacy.release.certificate import PrivacyCertificate
from privacy.release.desk import ReleaseState
from privacy.release.statements import read_certificate
from privacy.schema import TableSchema


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A released model as everybody who may ask it knows it, and its certificate."""

    record: ReleaseRecord
    certificate: PrivacyCertificate
    graph: ModelGraph
    features: FeatureSpec
    schema: TableSchema


@dataclass(frozen=True, slots=True)
class PlannedInference:
    """A request in its final form, and the model that it asks."""

    spec: InferenceSpec
    model: AskedModel


def plan_inference(reading: Reading, tenant: TenantId, body: Mapping[str, Any], release: ReleaseId) -> PlannedInference:
    """Complete a request.

    Raises:
        InvalidError, TooLargeError: The request breaks a rule of its form, or the model cannot be asked encrypted.
        NotFoundError: No such release.
        ConflictError: It is held, refused or recalled, or it is no model that was charged for.
    """
    model = asked_model(reading, tenant, release)
    require_released(model.record)
    shape = shape_of(model.graph, model.features)
    spec = complete_inference(body, model.record.dataset, model.record.certificate_digest, shape)
    return PlannedInference(spec, model)


def asked_model(reading: Reading, tenant: TenantId, release: ReleaseId) -> AskedModel:
    """The model behind a release, wherever it stands; raise as `plan_inference` does."""
    record = reading.releases.get(id=release, tenant=tenant)
    certificate = read_certificate(Envelope.from_bytes(record.certificate).payload)
    if not isinstance(certificate, PrivacyCertificate) or certificate.predicate.model.graph is None:
        raise ConflictError("only a model whose people were charged for it can be asked", field="release")
    dataset = reading.datasets.get(id=record.dataset)
    schema = TableSchema.from_json(dataset.schema)
    trained = training_spec_of(reading, tenant, release)
    return AskedModel(record, certificate, trained.model_graph(schema).graph, trained.features, schema)


def require_released(record: ReleaseRecord) -> None:
    """Return if a release may be used; raise `ConflictError` otherwise."""
    if record.state != ReleaseState.RELEASED.value:
        raise ConflictError("only a model that was released and not recalled can be asked", field="release")

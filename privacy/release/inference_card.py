"""The card of an encrypted answer: its certificate in words. It adds no claim."""

from __future__ import annotations

from importlib import resources
from string import Template

from privacy.release.inference import AskedModelFacts, InferenceCertificate
from privacy.release.observers import table_rows

TEMPLATE = "inference_card.md.tmpl"


def inference_card(certificate: InferenceCertificate) -> str:
    """Write the card of a certificate as Markdown; the signature is the reader's to check."""
    predicate = certificate.predicate
    model, asked, guarantee = predicate.model, predicate.question, predicate.model.guarantee
    template = resources.files("privacy.release").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return Template(template).substitute(
        release=predicate.release,
        artifact_name=certificate.artifact_name,
        artifact=certificate.artifact,
        kind=predicate.kind,
        job=predicate.job,
        model=model.release,
        model_certificate=model.certificate,
        dataset=model.dataset,
        unit=model.unit,
        epsilon=guarantee.epsilon,
        delta=guarantee.delta,
        alone=model.epsilon,
        uncovered=_uncovered(model),
        profile=predicate.encryption.profile,
        batches=asked.batches,
        slots=asked.shape.profile.slots,
        features=asked.features,
        outputs=asked.outputs,
        bytes=asked.bytes,
        answer_bytes=asked.answer_bytes,
        client=asked.client,
        expected_error=predicate.precision.expected_error,
        halvings=predicate.precision.halvings,
        observers=table_rows(predicate.observers),
        not_covered="\n".join(f"- {sentence}" for sentence in predicate.not_covered),
        origin=predicate.origin,
        question=asked.digest,
        decision=predicate.decision_leaf,
        answered=predicate.answered,
    )


def _uncovered(model: AskedModelFacts) -> str:
    """Whether an exact result has left the model's population."""
    if model.uncovered_since is None:
        return "No exact result had left this population when the answer was made."
    return (
        f"**An exact result left this population at entry {model.uncovered_since} of its ledger: the promise does not "
        "cover that.**"
    )

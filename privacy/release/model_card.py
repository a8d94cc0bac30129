"""The model card: the certificate in words, for people who will not read JSON.

Rules
-----
1. Everything in it comes from the certificate; it adds no claim. Figures are those of the certificate, to the digit.
2. It opens with what was protected and goes on with what was not.
"""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Final

from kernel.signing import Envelope
from privacy.release.certificate import ChargedMechanism, Predicate, PrivacyCertificate, SelfTestFacts
from privacy.release.hazards import answers

TEMPLATE = "model_card.md.tmpl"
EVALUATION: Final = "evaluation.json"
_CONTENT: Final = {
    False: ("The model's weights as safetensors, noised in every step. Nothing else of the run is in it.",),
    True: (
        "Counts of the owner's holdout with noise, and figures that follow from them, each with an interval at 95 %",
        "that covers noise and sampling. Anybody can compute the figures again from the counts.",
        "",
        "- `accuracy`: the share of rows that the model gets right",
        "- `auc`, of two classes: how often a row of the positive class scores above one of the other; 0.5 is chance",
        "- `confidence_auc`, of several classes: how often the model is surer of a right prediction than of a wrong",
        "  one; 0.5 means that its confidence says nothing. How often it is right is `accuracy`",
    ),
}


def model_card(envelope: Envelope) -> str:
    """Write the card of a signed certificate as Markdown; the signature is the reader's to check."""
    certificate = PrivacyCertificate.parse(envelope.payload)
    predicate = certificate.predicate
    template = resources.files("privacy.release").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return Template(template).substitute(
        artifact_name=certificate.artifact_name,
        artifact=certificate.artifact,
        title=predicate.model.template or predicate.kind,
        job=predicate.job,
        release=predicate.release,
        dataset=predicate.dataset.id,
        version=predicate.dataset.version,
        mechanisms="\n".join(_mechanism(part) for part in predicate.mechanisms),
        engine="\n".join(_engine(predicate)),
        content="\n".join(_CONTENT[certificate.artifact_name == EVALUATION]),
        not_covered="\n".join(_not_covered(predicate)),
        self_test="\n".join(_self_test(predicate.self_test)),
        hazards="\n".join(f"| {hazard} | {answer} |" for hazard, answer in answers(predicate)),
        **_people(predicate),
        **_budget(predicate),
        **_evidence(predicate),
    )


def _people(predicate: Predicate) -> dict[str, object]:
    people = predicate.population
    return {
        "unit": people.unit,
        "unit_domain": people.unit_domain,
        "rows_per_unit": people.rows_per_unit,
        "public_size": people.public_size,
    }


def _budget(predicate: Predicate) -> dict[str, object]:
    total, alone = predicate.guarantee, predicate.this_job_alone
    return {
        "epsilon": total.epsilon,
        "delta": total.delta,
        "order": total.order,
        "before": total.before,
        "charge": total.charge,
        "capacity": total.capacity,
        "alone": alone.epsilon,
        "unamplified": alone.unamplified_epsilon,
    }


def _evidence(predicate: Predicate) -> dict[str, object]:
    evidence = predicate.evidence
    return {
        "origin": evidence.origin,
        "decision": evidence.decision,
        "reserve": evidence.reserve,
        "charged": evidence.charge,
    }


def _not_covered(predicate: Predicate) -> list[str]:
    lines = [f"- {sentence}" for sentence in predicate.not_covered]
    if predicate.uncovered_since is not None:
        lines.append(f"- An exact result left this population at entry {predicate.uncovered_since} of its ledger.")
    return lines


def _mechanism(part: ChargedMechanism) -> str:
    fields = part.mechanism.to_fields()
    numbers = ", ".join(f"{name} {value}" for name, value in fields.items() if name != "mechanism")
    return f"| {part.block} | `{fields['mechanism']}` | {numbers} |"


def _engine(predicate: Predicate) -> list[str]:
    engine = predicate.engine
    named = {
        f"limit on one {predicate.population.unit}'s influence (clip)": engine.clip,
        "declared batch that sums are divided by": engine.normaliser,
        "most counts that one unit can change": engine.sensitivity,
    }
    return [f"- engine: {engine.name}", *(f"- {name}: {value}" for name, value in named.items() if value is not None)]


def _self_test(test: SelfTestFacts) -> list[str]:
    if not test.ran:
        return ["No self-test belongs to this kind of release."]
    beyond = "**above**" if test.exceeds_claim else "not above"
    names = ", ".join(f"`{check}`" for check in test.checks)
    bound = f"{test.lower_bound}, at confidence {test.confidence} (`{test.method}`)"
    hint = f"{test.gaussian_bound}, if the run is thought of as one Gaussian mechanism"
    return [
        f"- checks, all passed: {names}",
        f"- lower bound on epsilon that this very run shows: {bound}; {beyond} this release's own epsilon",
        f"- a tighter figure that is a hint: {hint}",
    ]

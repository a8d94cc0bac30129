"""The model card: the certificate in words, for people who will not read JSON.

Rules
-----
1. Everything in it comes from the certificate; it adds no claim. Figures are those of the certificate, to the digit;
   odds follow from its mechanisms and its budget, and a verifier works them out again.
2. It opens with what was protected and goes on with what was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any, Final

from kernel.signing import Envelope
from privacy.accounting.odds import budget_odds, odds, sentence
from privacy.release.blind import BlindCertificate
from privacy.release.blind_card import blind_card
from privacy.release.certificate import ChargedMechanism, Predicate, PrivacyCertificate, SelfTestFacts
from privacy.release.check import unamplified, uses_by_block
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.disclosure_card import disclosure_card
from privacy.release.hazards import answers
from privacy.release.inference import InferenceCertificate
from privacy.release.inference_card import inference_card
from privacy.release.noised import NoisedCertificate
from privacy.release.noised_card import noised_card
from privacy.release.statements import read_certificate

TEMPLATE = "model_card.md.tmpl"
_CONTENT: Final[Mapping[str, tuple[str, ...]]] = {
    "model.safetensors": (
        "The model's weights as safetensors, noised in every step. Nothing else of the run is in it.",
    ),
    "statistics.json": (
        "The request, noisy whole numbers and the answers that follow from them. Each answer has an interval that",
        "holds, at 95 %, what it would be without noise; sampling is not in it. Whoever has the file computes every",
        "answer again.",
    ),
    "synthesis.json": (
        "Noisy counts of columns and of pairs of columns along a tree that the job chose privately. Rows are drawn",
        "from them with any seed, as many as one likes, for nothing more; each is nobody's. What holds past the tree,",
        "among several columns at once, is not in the rows: a figure from them is about the counts, not about people.",
    ),
    "glm.json": (
        "A generalised linear model with the table that people publish: coefficients in their columns' own units, with",
        "standard errors and intervals at 95 % that include sampling and privacy noise, and the noisy sums that all of",
        "it follows from. Anybody can work the table out again. Errors hold under overdispersion, unequal variances",
        "and several rows per person. p-values stand beside predictors only.",
    ),
    "evaluation.json": (
        "Counts of the owner's holdout with noise, and figures that follow from them, each with an interval at 95 %",
        "that covers noise and sampling. Anybody can compute the figures again from the counts.",
        "",
        "- `accuracy`: the share of rows that the model gets right",
        "- `by_class`, with a confusion matrix: of each class precision, recall, specificity and F1",
        "- `auc`, of two classes: how often a row of the positive class scores above one of the other; 0.5 is chance",
        "- `confidence_auc`, of several classes: how often the model is surer of a right prediction than of a wrong",
        "  one; 0.5 means that its confidence says nothing. How often it is right is `accuracy`",
        "- `calibration`: how far scores can be taken at their word, as finely as the histogram's cells",
        "- `errors`, of a number: how far the model is off, in the label's own unit",
        "- `subgroups`: figures by group and the gaps between groups; groups of few noisy rows are not shown",
    ),
}


def model_card(envelope: Envelope) -> str:
    """Write the card of a signed certificate as Markdown; the signature is the reader's to check."""
    certificate = read_certificate(envelope.payload)
    if isinstance(certificate, DisclosureCertificate):
        return disclosure_card(certificate)
    if isinstance(certificate, InferenceCertificate):
        return inference_card(certificate)
    if isinstance(certificate, NoisedCertificate):
        return noised_card(certificate)
    if isinstance(certificate, BlindCertificate):
        return blind_card(certificate)
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
        content="\n".join(_content(certificate)),
        not_covered="\n".join(_not_covered(predicate)),
        self_test="\n".join(_self_test(predicate.self_test)),
        odds="\n".join(_odds(predicate)),
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


def _odds(predicate: Predicate) -> list[str]:
    """What the two epsilons mean for somebody who is guessed at with even chances."""
    total, noun = predicate.guarantee, predicate.population.unit
    alone = max(odds(*uses) for uses in uses_by_block(predicate.mechanisms))
    lines = [f"- From this release alone: {sentence(noun, alone)}"]
    seen = max(odds(*unamplified(uses)) for uses in uses_by_block(predicate.mechanisms))
    if seen > alone:
        lines.append(f"- From this release, for whoever could see who was sampled: {sentence(noun, seen)}")
    if predicate.uncovered_since is None:
        spent = budget_odds(total.epsilon, total.delta, total.order, total.capacity)
        lines.append(f"- From everything that ever leaves, once the whole budget is spent: {sentence(noun, spent)}")
    return lines


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
    numbers = _numbers(fields)
    block = f"{part.block} and earlier" if part.earlier else part.block
    return f"| {block} | `{fields['mechanism']}` | {numbers} |"


def _numbers(fields: Mapping[str, Any]) -> str:
    """A mechanism's members; those of a selection's try and of its tries in brackets."""
    return ", ".join(
        f"{name} ({value.get('mechanism', 'number')}: {_numbers(value)})"
        if isinstance(value, Mapping)
        else f"{name} {value}"
        for name, value in fields.items()
        if name != "mechanism"
    )


def _content(certificate: PrivacyCertificate) -> list[str]:
    lines = list(_CONTENT.get(certificate.artifact_name, ()))
    selection = certificate.predicate.selection
    if selection is not None:
        recipe = selection.recipe
        lines += [
            "",
            f"It was selected among {selection.candidates} candidates, by a noisy count of right predictions on people",
            "held out. Nothing of the others left, nor how many were tried. Its recipe:",
            "",
            f"- clip {recipe.clip}, learning rate {recipe.learning_rate}, momentum {recipe.momentum},",
            f"  weight decay {recipe.weight_decay}, {recipe.steps} steps",
        ]
    return lines


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

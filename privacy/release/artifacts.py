"""Whether a released file says what its certificate allows it to say: computed again from the noisy numbers in it.

Rules
-----
1. Standard library and the kernel only: whoever has file and certificate can ask, offline.
2. A kind of artefact without a line in `_CHECKS` is judged by its digest alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from kernel.errors import PrivgateError
from privacy.accounting.mechanisms import Gaussian, ZeroConcentrated
from privacy.evaluation.check import evaluation_problems
from privacy.glm.report import read_glm
from privacy.homomorphic.glm.noised import NoisedGlm, read_noised_glm
from privacy.homomorphic.glm.report import read_glm as read_federated
from privacy.homomorphic.inference import RESULT_LEVEL
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import read_statistics
from privacy.homomorphic.validator import pieces
from privacy.homomorphic.wire import result_form
from privacy.release.blind import BlindCertificate, final_problems
from privacy.release.certificate import Predicate
from privacy.release.disclosure import DisclosureCertificate, DisclosurePredicate
from privacy.release.inference import InferenceCertificate, InferencePredicate
from privacy.release.noised import NoisedCertificate, NoisedPredicate
from privacy.release.statements import Certificate
from privacy.statistics.report import open_statistics
from privacy.synthesis.report import open_synthesis


def artifact_problems(certificate: Certificate, data: bytes) -> tuple[str, ...]:
    """Everything in a released file that does not follow from its own noisy numbers and its certificate."""
    try:
        if isinstance(certificate, DisclosureCertificate):
            found = _EXACT.get(certificate.artifact_name)
            return () if found is None else tuple(found(certificate.predicate, data))
        if isinstance(certificate, NoisedCertificate):
            judge = _NOISED.get(certificate.artifact_name)
            return () if judge is None else tuple(judge(certificate.predicate, data))
        if isinstance(certificate, InferenceCertificate):
            return tuple(_answer(certificate.predicate, data))
        if isinstance(certificate, BlindCertificate):
            return tuple(final_problems(certificate.predicate, data))
        check = _CHECKS.get(certificate.artifact_name)
        return () if check is None else tuple(check(certificate.predicate, data))
    except PrivgateError as error:
        return (f"it cannot be computed again: {error.message}",)


def _statistics(predicate: Predicate, data: bytes) -> Iterator[str]:
    found = open_statistics(data)
    spec, plan = found.spec, found.plan
    if spec.digest != predicate.request or spec.dataset != predicate.dataset.id:
        yield "it answers another request than was certified"
    if (plan.rows_per_unit, plan.order, plan.delta) != (
        predicate.population.rows_per_unit,
        predicate.guarantee.order,
        predicate.guarantee.delta,
    ):
        yield "its noise was planned for other rows per unit, another order or another delta than was certified"
    for part in predicate.mechanisms:
        use = part.mechanism
        side = str(part.block).partition("/")[0]
        if not isinstance(use, Gaussian) or (use.noise_multiplier, side) != (plan.noise_multiplier, plan.block.value):
            yield "its noise is not that of the mechanism that was charged"


def _synthesis(predicate: Predicate, data: bytes) -> Iterator[str]:
    found = open_synthesis(data)
    spec, plan = found.spec, found.plan
    if spec.digest != predicate.request or spec.dataset != predicate.dataset.id:
        yield "it answers another request than was certified"
    if (plan.rows_per_unit, plan.order, plan.delta) != (
        predicate.population.rows_per_unit,
        predicate.guarantee.order,
        predicate.guarantee.delta,
    ):
        yield "its noise was planned for other rows per unit, another order or another delta than was certified"
    for part in predicate.mechanisms:
        use = part.mechanism
        side = str(part.block).partition("/")[0]
        if not isinstance(use, ZeroConcentrated) or (use.rho, side) != (plan.rho, plan.block.value):
            yield "its noise and choices are not those of the mechanism that was charged"


def _glm(predicate: Predicate, data: bytes) -> Iterator[str]:
    body = read_glm(data)
    if body["rows_per_unit"] != predicate.population.rows_per_unit:
        yield "it was fitted for other rows per unit than was certified"
    for part in predicate.mechanisms:
        use = part.mechanism
        if not isinstance(use, Gaussian) or str(use.noise_multiplier) != body["noise_multiplier"]:
            yield "its noise is not that of the mechanism that was charged"


_CHECKS: Final[Mapping[str, Callable[[Predicate, bytes], Iterator[str]]]] = {
    "evaluation.json": evaluation_problems,
    "glm.json": _glm,
    "statistics.json": _statistics,
    "synthesis.json": _synthesis,
}


def _federated_glm(predicate: DisclosurePredicate, data: bytes) -> Iterator[str]:
    body = read_federated(data)
    if (body["sites"], body["rounds"]) != (len(predicate.sites), predicate.course.rounds):
        yield "it was made over another number of sites, or in other rounds, than was certified"


def _exact_statistics(predicate: DisclosurePredicate, data: bytes) -> Iterator[str]:
    body = read_statistics(data)
    if (body["sites"], predicate.course.rounds) != (len(predicate.sites), 1):
        yield "it was made over another number of sites, or in other rounds, than was certified"
    if FederatedStatistics.from_json(body["plan"]).noise is not None:
        yield "it has noise, and was certified as exact"


_EXACT: Final[Mapping[str, Callable[[DisclosurePredicate, bytes], Iterator[str]]]] = {
    "he-glm.json": _federated_glm,
    "he-statistics.json": _exact_statistics,
}


def _federated_statistics(predicate: NoisedPredicate, data: bytes) -> Iterator[str]:
    body = read_statistics(data)
    if body["sites"] != len(predicate.sites):
        yield "it was made over another number of sites than was certified"
    plan = FederatedStatistics.from_json(body["plan"])
    if plan.noise != predicate.noise.noise:
        yield "its noise is not that of the mechanism that was charged"
    if plan.rows_per_unit != max(site.population.rows_per_unit for site in predicate.sites):
        yield "its noise was planned for other rows per unit than was certified"


def _noised_glm(predicate: NoisedPredicate, data: bytes) -> Iterator[str]:
    body = read_noised_glm(data)
    plan = NoisedGlm.from_json(body["plan"])
    if (body["sites"], plan.rounds) != (len(predicate.sites), predicate.course.rounds):
        yield "it was made over another number of sites, or in other rounds, than was certified"
    if plan.noise != predicate.noise.noise:
        yield "its noise is not that of the mechanism that was charged"


_NOISED: Final[Mapping[str, Callable[[NoisedPredicate, bytes], Iterator[str]]]] = {
    "he-glm.json": _noised_glm,
    "he-statistics.json": _federated_statistics,
}


def _answer(predicate: InferencePredicate, data: bytes) -> Iterator[str]:
    """Nobody but the client can compute an answer again; that it has the form of one, everybody sees."""
    shape = predicate.question.shape
    form = result_form(shape.profile, RESULT_LEVEL, 2.0**shape.profile.scale_bits)
    forms = [form] * (shape.outputs * predicate.question.batches)
    if not all(one.matches(piece) for one, piece in pieces(forms, data)):
        yield "it is not the ciphertexts that such a model gives"

"""Checking an inference certificate by itself: what follows from other things in it, and what must be in every one."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.errors import PrivgateError
from privacy.accounting.rdp import capacity
from privacy.homomorphic.inference import MOST_HALVINGS
from privacy.release.inference import InferencePredicate
from privacy.release.observers import observers_of_inference


def check_inference(predicate: InferencePredicate) -> tuple[str, ...]:
    """Return every problem of an inference certificate; none means that it is one and complete."""
    try:
        return (*_question_problems(predicate), *_model_problems(predicate))
    except PrivgateError as error:
        return (f"a figure cannot be recomputed: {error.message}",)


def _question_problems(predicate: InferencePredicate) -> Iterator[str]:
    asked, shape = predicate.question, predicate.question.shape
    profile = shape.profile
    if (predicate.encryption.profile, predicate.encryption.digest) != (profile.name, profile.digest):
        yield "its encryption is not the one that the model's depth gives"
    if predicate.document.digest != asked.digest:
        yield "the question's digest does not follow from what it asked"
    if asked.bytes != shape.key_bytes + asked.batches * shape.request_bytes:
        yield "the question is not as long as its shape and batches say"
    if asked.answer_bytes != asked.batches * shape.answer_bytes:
        yield "the answer is not as long as its shape and batches say"
    if tuple(predicate.observers) != observers_of_inference(shape):
        yield "who learns what is not what such a job shows"
    stated = predicate.precision
    if stated.expected_error != profile.expected_error or not 0 <= stated.halvings <= MOST_HALVINGS:
        yield "its precision is not the profile's"


def _model_problems(predicate: InferencePredicate) -> Iterator[str]:
    model, said = predicate.model, predicate.model.guarantee
    if said.capacity != capacity(said.epsilon, said.delta, said.order):
        yield "the guarantee's capacity does not follow from its epsilon and delta"
    if said.before + said.charge > said.capacity:
        yield "the model's charge does not fit its population's budget"
    if model.delta != said.delta:
        yield "the model's epsilon is stated at another delta than the population's"
    if said.ledger_seq > model.ledger_seq:
        yield "the model was charged after the ledger was looked at"
    if model.uncovered_since is not None and not 1 <= model.uncovered_since <= model.ledger_seq:
        yield "a population is said to be uncovered from after this answer on"

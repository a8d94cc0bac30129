"""The parent's side of the child of a blind training: one step, from the site's own file to ciphertexts.

Rules
-----
1. The child may read that one file and write nothing; it cannot reach any network. Rows, weights and gradients are met
   there alone: this process sees a sealed secret's bytes on their way and ciphertexts.
2. What was found wrong is for the site's own people; the gateway learns that the site declines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernel.errors import CorruptError, NotFoundError, PrivgateError, UnavailableError
from privacy.homomorphic.blind.assignment import MEMORY_LIMIT, ROLE, Answer, BlindAssignment, Memory, Step
from privacy.homomorphic.blind.shape import PROFILE, BlindShape
from privacy.homomorphic.blind.spec import BlindPlan
from privacy.homomorphic.validator import require_evaluation_keys, require_secret_key, require_vectors
from privacy.sandbox.frames import expect
from privacy.sandbox.limits import MIB, Level, Limits
from privacy.sandbox.spawn import Child, spawn
from privacy.sealing.secret import SecretBytes
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.site.computing import sentences
from privgate.agents.site.datasets import SiteDataset

_ANSWER_LIMIT = 2**20
_LARGEST_KEY = 2**22
_MEMORY = 2048 * MIB


@dataclass(frozen=True, slots=True)
class Begun:
    """What a beginning gives: the key, what the gateway gets, and where the training stands."""

    secret: SecretBytes
    keys: bytes
    data: bytes
    memory: bytes
    weights: bytes


@dataclass(frozen=True, slots=True)
class GoneOn:
    """Where the training stands after a gradient; no weights go out after the last one."""

    memory: bytes
    weights: bytes | None


class BlindSteps:
    """Runs each step in a confined child of its own.

    Args:
        minimum: The least confinement to go on with.
    """

    def __init__(self, minimum: Level = Level.LANDLOCK_AND_SECCOMP) -> None:
        self._minimum = minimum

    def begin(self, dataset: SiteDataset, plan: BlindPlan) -> Begun:
        """Train in the clear, make a key, encrypt the rows and the first weights.

        Raises:
            RefusalError: The file, the persons, the rows or the polynomial's range do not allow it: nothing was made.
            UnavailableError: The child did not come up, or this host's encryption is another.
        """
        shape = plan.shape
        with self._child(Step.BEGIN, dataset, shape) as child:
            _judged(*_begun(child, dataset, plan), Answer.BEGUN)
            secret = SecretBytes(_body(child, "secret", _LARGEST_KEY))
            keys, data = _body(child, "keys", shape.key_bytes), _body(child, "data", shape.data_bytes)
            memory, weights = _body(child, "memory", MEMORY_LIMIT), _body(child, "weights", shape.weights_bytes)
        try:
            require_secret_key(PROFILE, secret.reveal())
            require_evaluation_keys(PROFILE, keys, shape.rotations, products=True)
            require_vectors(PROFILE, data, 2 * shape.ciphertexts)
            require_vectors(PROFILE, weights, 1)
        except CorruptError:
            raise UnavailableError("this host's encryption gives another form than is specified") from None
        return Begun(secret, keys, data, memory, weights)

    def go_on(
        self, dataset: SiteDataset, plan: BlindPlan, secret: SecretBytes, memory: bytes, gradient: bytes
    ) -> GoneOn:
        """Take a gradient and step; after the last one the weights are held against training in the clear.

        Raises:
            RefusalError: They are not what training in the clear gives, or the file cannot be read any more.
            UnavailableError: The child did not come up.
        """
        shape = plan.shape
        last = Memory.from_bytes(memory).epochs + 1 == shape.epochs
        with self._child(Step.GO_ON, dataset, shape) as child:
            _give(child, "assignment", _assignment(dataset, plan).to_bytes())
            for name, body in (("secret", secret.reveal()), ("memory", memory), ("gradient", gradient)):
                _give(child, name, body)
            _judged(*_answer(child), Answer.ENDED if last else Answer.GONE_ON)
            after = _body(child, "memory", MEMORY_LIMIT)
            weights = None if last else _body(child, "weights", shape.weights_bytes)
        return GoneOn(after, weights)

    def _child(self, step: Step, dataset: SiteDataset, shape: BlindShape) -> Child:
        if not dataset.file.is_file():
            raise NotFoundError("the dataset's file is not there", field="file")
        held = dataset.file.stat().st_size + 4 * (shape.key_bytes + shape.data_bytes)
        limits = Limits(
            memory_bytes=_MEMORY + 16 * held,
            cpu_seconds=120 + 8 * (held // MIB),
            wall_seconds=480 + 32 * (held // MIB),
            output_bytes=max(_LARGEST_KEY, shape.key_bytes),
        )
        request = {"step": step.value}
        return spawn(ROLE, limits=limits, readable=[dataset.file], request=request, minimum=self._minimum)


def _assignment(dataset: SiteDataset, plan: BlindPlan) -> BlindAssignment:
    return BlindAssignment(
        file=str(dataset.file),
        format=dataset.format,
        schema=dataset.schema,
        unit=dataset.unit,
        plan=plan.to_json(),
        least_persons=dataset.least_persons,
    )


def _begun(child: Child, dataset: SiteDataset, plan: BlindPlan) -> tuple[Mapping[str, Any], bytes]:
    _give(child, "assignment", _assignment(dataset, plan).to_bytes())
    return _answer(child)


def _give(child: Child, name: str, body: bytes) -> None:
    try:
        child.channel.send({"m": name}, body)
    except PrivgateError:
        raise _ended() from None


def _answer(child: Child) -> tuple[Mapping[str, Any], bytes]:
    try:
        return child.channel.receive(_ANSWER_LIMIT)
    except PrivgateError:
        raise _ended() from None


def _body(child: Child, name: str, longest: int) -> bytes:
    try:
        header, body = child.channel.receive(longest)
    except PrivgateError:
        raise _ended() from None
    if header != {"m": name}:
        raise _ended()
    return body


def _ended() -> UnavailableError:
    # Not a refusal: whether a gradient made it end is nobody's to learn, and the deadline ends the job otherwise.
    return UnavailableError("the computation ended without a result: it is tried again")


def _judged(header: Mapping[str, Any], body: bytes, wanted: Answer) -> None:
    (said,) = expect(header, "m")
    if said == wanted:
        return
    match said:
        case Answer.FEW:
            raise RefusalError(Why.PERSONS)
        case Answer.MANY:
            raise RefusalError(Why.DATA, "there are more rows than `rows` has room for")
        case Answer.RANGE:
            raise RefusalError(Why.RANGE)
        case Answer.WRONG:
            raise RefusalError(Why.RESULT, "the weights are not what training in the clear gives: a gradient was wrong")
        case Answer.REFUSED:
            raise RefusalError(Why.DATA, "; ".join(sentences(body)))
        case _:
            raise RefusalError(Why.DATA, "the computation gave an unknown answer")

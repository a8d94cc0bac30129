"""The key holder's course of a federated model: first weights, a step for each round, the released file. Pure.

Rules
-----
1. Weights are float32 between rounds: what sites get, what is kept and what is released are the same numbers.
2. A sum over persons is divided by the declared size, never by a count. Updates are averaged with the declared weights
   of the sites that were added.
3. A number is read and written with the standard library alone: an agent that waits for uploads loads nothing heavy.

Form: docs/formats/he-averaging.md; the released file: docs/formats/model-graph.md, "Weights".
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from kernel import canonical
from kernel.errors import CorruptError, InvalidError
from kernel.ids import Entropy
from privacy.graph.spec import InitialRule, Weight
from privacy.homomorphic.averaging.plan import Bounded, FederatedAverage
from privacy.jobs.strict import members_of

LARGEST_WEIGHT = 1e6
_FORMAT = "privgate/weights/v1"
_FRACTION_BITS = 53
_BYTES = 4


def first_weights(plan: FederatedAverage, entropy: Entropy = os.urandom) -> array[float]:
    """Weights before the first round, as the model's graph says."""
    return array("f", (value for weight in plan.checked.graph.weights for value in _first(weight, entropy)))


def _first(weight: Weight, entropy: Entropy) -> Iterator[float]:
    start = weight.init
    for _ in range(weight.elements):
        if start.rule is InitialRule.UNIFORM and start.bound is not None:
            drawn = int.from_bytes(entropy(8), "big") >> (64 - _FRACTION_BITS)
            yield float(start.bound.number) * (2 * math.ldexp(drawn, -_FRACTION_BITS) - 1)
        else:
            yield float(start.value.number) if start.value is not None else 0.0


def ask_json(weights: Sequence[float]) -> dict[str, Any]:
    """What the sites need for a round: the `state` of a round document, float32 values as base64, little-endian."""
    return {"weights": base64.b64encode(_little(array("f", weights)).tobytes()).decode("ascii")}


def asked_weights(plan: FederatedAverage, body: Any) -> array[float]:
    """Read what `ask_json` writes; raise `InvalidError` otherwise."""
    written = members_of(body, "state", ("weights",))["weights"]
    try:
        data = base64.b64decode(written, validate=True) if isinstance(written, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != _BYTES * plan.values:
        raise InvalidError("`weights` has as many numbers as the model has weights", field="weights")
    weights = _little(array("f", data))
    if not all(math.isfinite(value) and abs(value) <= LARGEST_WEIGHT for value in weights):
        raise InvalidError("a weight is finite and at most a million", field="weights")
    return weights


def advance(
    plan: FederatedAverage, weights: Sequence[float], sums: Sequence[int], present: Sequence[int]
) -> array[float]:
    """One step.

    Args:
        plan: What is trained.
        weights: As the round began.
        sums: Of the sites that were added, in finer steps.
        present: Their places in the order's order.

    Raises:
        CorruptError: Another number of sums, or of sites, than the plan has.
    """
    if len(sums) != plan.values or not present or not set(present) <= set(range(len(plan.weights))):
        raise CorruptError("the decrypted sums are not those of this model")
    if plan.bounded is Bounded.PERSON:
        factor = -float(plan.rate.number) * plan.quantum / plan.public_size
    else:
        factor = plan.quantum / math.fsum(plan.share(place) for place in present)
    moved = (value + factor * number for value, number in zip(weights, sums, strict=True))
    return array("f", (max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, value)) for value in moved))


def weights_bytes(plan: FederatedAverage, weights: Sequence[float]) -> bytes:
    """The released file: float32 weights as safetensors, with the digest of their graph."""
    graph, place = plan.checked.graph, 0
    parts: dict[str, tuple[list[int], bytes]] = {}
    for weight in graph.weights:
        values = array("f", weights[place : place + weight.elements])
        parts[weight.name] = (list(weight.shape), _little(values).tobytes())
        place += weight.elements
    header: dict[str, Any] = {"__metadata__": {"format": _FORMAT, "graph": str(graph.digest)}}
    offset = 0
    for name in sorted(parts):
        shape, data = parts[name]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    written = canonical.encode(header)
    written += b" " * (-len(written) % 8)
    return b"".join([len(written).to_bytes(8, "little"), written, *(parts[name][1] for name in sorted(parts))])


def is_file_of(plan: FederatedAverage, data: bytes) -> bool:
    """Whether a file holds weights of the plan's model, written as `weights_bytes` writes them."""
    like = weights_bytes(plan, [0.0] * plan.values)
    begins = len(like) - _BYTES * plan.values
    weights = _little(array("f", data[begins:])) if len(data) == len(like) else array("f")
    fine = all(math.isfinite(value) and abs(value) <= LARGEST_WEIGHT for value in weights)
    return len(data) == len(like) and data[:begins] == like[:begins] and fine


def _little(values: array[float]) -> array[float]:
    """In little-endian order, or back from it."""
    if sys.byteorder == "big":
        values = array("f", values)
        values.byteswap()
    return values

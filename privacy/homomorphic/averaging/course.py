"""The key holder's course of a federated model: first weights, a step for each round, the released file. Needs numpy.

Rules
-----
1. Weights are float32 between rounds: what sites get, what is kept and what is released are the same bytes.
2. A sum over persons is divided by the declared size, never by a count. Updates are averaged with the declared weights
   of the sites that were added.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import CorruptError, InvalidError
from kernel.ids import Entropy
from privacy.graph.weights import pack_weights, unpack_initial
from privacy.homomorphic.averaging.plan import Bounded, FederatedAverage
from privacy.jobs.model import initial_of
from privacy.jobs.strict import members_of
from privacy.training.engine import unflatten
from privacy.training.state import LARGEST_WEIGHT, first_state

Weights: TypeAlias = NDArray[np.float32]


def first_weights(plan: FederatedAverage, entropy: Entropy = os.urandom) -> Weights:
    """Weights before the first round, as the model's graph says."""
    graph, given = plan.checked.graph, initial_of(plan.model)
    values = None if given is None else unpack_initial(graph, given)
    return first_state(graph, entropy, values).weights.astype(np.float32)


def ask_json(weights: Weights) -> dict[str, Any]:
    """What the sites need for a round: the `state` of a round document, float32 values as base64, little-endian."""
    return {"weights": base64.b64encode(weights.astype("<f4").tobytes()).decode("ascii")}


def asked_weights(plan: FederatedAverage, body: Any) -> Weights:
    """Read what `ask_json` writes; raise `InvalidError` otherwise."""
    written = members_of(body, "state", ("weights",))["weights"]
    try:
        data = base64.b64decode(written, validate=True) if isinstance(written, str) else b""
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != 4 * plan.values:
        raise InvalidError("`weights` has as many numbers as the model has weights", field="weights")
    weights = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(weights).all() or np.abs(weights).max() > LARGEST_WEIGHT:
        raise InvalidError("a weight is finite and at most a million", field="weights")
    return weights


def advance(plan: FederatedAverage, weights: Weights, sums: Sequence[int], present: Sequence[int]) -> Weights:
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
    total = np.asarray([float(number) for number in sums]) * plan.quantum
    if plan.bounded is Bounded.PERSON:
        moved = -float(plan.rate.number) * total / plan.public_size
    else:
        moved = total / sum(plan.share(place) for place in present)
    return np.clip(weights.astype(np.float64) + moved, -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.float32)


def weights_bytes(plan: FederatedAverage, weights: Weights) -> bytes:
    """The released file: float32 weights with the digest of their graph."""
    graph = plan.checked.graph
    shapes = {weight.name: weight.shape for weight in graph.weights}
    return pack_weights(graph, unflatten(weights.astype(np.float64), shapes))

"""Savepoints: a run's noisy state with its account, for its own job, plan and step only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kernel import canonical
from kernel.errors import CorruptError
from privacy.graph.weights import NamedArrays
from privacy.sealing.secret import SecretBytes
from privacy.training.savepoints import open_state, pack_state, seal_state, unpack_state
from privacy.training.state import RunState
from tests.support import jobs


def _state(size: int = 5) -> RunState:
    vectors = np.random.default_rng(0).normal(size=(3, size))
    return RunState(step=7, weights=vectors[0], velocity=vectors[1], total=vectors[2], clip=0.5, started=9)


def test_a_savepoint_comes_back_and_opens_for_nobody_else() -> None:
    """Another plan, step, size, key, job or one flipped bit: `CorruptError`."""
    plan, other = jobs.plan(), jobs.plan(epsilon="2")
    key, wrong = SecretBytes(bytes(32)), SecretBytes(bytes([1]) * 32)
    job = jobs.training(jobs.Sealed(key=key, parts=())).job
    sealed = seal_state(_state(), plan, key, jobs.TENANT, job)
    found = open_state(sealed, plan, 7, 5, key, jobs.TENANT, job)
    assert (found.weights == _state().weights).all()
    for arguments in (
        (sealed, other, 7, 5, key, jobs.TENANT, job),
        (sealed, plan, 8, 5, key, jobs.TENANT, job),
        (sealed, plan, 7, 6, key, jobs.TENANT, job),
        (sealed, plan, 7, 5, wrong, jobs.TENANT, job),
        (sealed, plan, 7, 5, key, jobs.TENANT, jobs.training(jobs.Sealed(key=key, parts=())).job),
        (sealed[:-1], plan, 7, 5, key, jobs.TENANT, job),
        (b"", plan, 7, 5, key, jobs.TENANT, job),
    ):
        with pytest.raises(CorruptError):
            open_state(*arguments)
    for place in range(0, len(sealed), 7):
        flipped = bytearray(sealed)
        flipped[place] ^= 1
        with pytest.raises(CorruptError):
            open_state(bytes(flipped), plan, 7, 5, key, jobs.TENANT, job)


def test_a_savepoint_carries_its_account_and_needs_it() -> None:
    """Clip, attempt and started steps come back; a head that is not this plan's, or counts too few, is refused."""
    plan = jobs.plan()
    named = NamedArrays.from_bytes(pack_state(_state(), plan))
    found = unpack_state(named.to_bytes(), plan, 7, 5)
    assert (found.clip, found.attempt, found.started) == (0.5, 1, 9)
    assert named.texts["mechanism"] == canonical.encode(plan.uses()[0].repeated(1).to_fields()).decode()
    dearer = canonical.encode(jobs.plan(epsilon="2").uses()[0].repeated(1).to_fields()).decode()
    for name, text in (
        ("started", "6"),
        ("started", "-9"),
        ("started", "09"),
        ("started", ""),
        ("attempt", "one"),
        ("attempt", "1" * 30),
        ("mechanism", dearer),
        ("format", "privgate/savepoint/v2"),
    ):
        with pytest.raises(CorruptError):
            unpack_state(dataclasses.replace(named, texts={**named.texts, name: text}).to_bytes(), plan, 7, 5)
    for texts in ({k: v for k, v in named.texts.items() if k != "attempt"}, {**named.texts, "seed": "1"}):
        with pytest.raises(CorruptError):
            unpack_state(dataclasses.replace(named, texts=texts).to_bytes(), plan, 7, 5)


def test_a_savepoint_that_is_not_finite_is_refused() -> None:
    """Even with the right key: it cannot come from a run."""
    state = dataclasses.replace(_state(), velocity=np.array([1, 2, np.nan, 4, 5.0]))
    with pytest.raises(CorruptError):
        unpack_state(pack_state(state, jobs.plan()), jobs.plan(), 7, 5)


def test_a_savepoint_has_one_length_for_every_state() -> None:
    """It follows from the model's size (and the digits of the step) alone."""
    plan = jobs.plan()
    states = [dataclasses.replace(_state(), weights=np.full(5, value)) for value in (0.0, 1e300, -1e-300)]
    assert len({len(pack_state(state, plan)) for state in states}) == 1

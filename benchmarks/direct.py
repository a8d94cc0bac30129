"""The training alone, for `overhead`: key and assignment on standard input, no confinement, no conversation."""

from __future__ import annotations

import sys

from privacy.jobs.assignment import TrainingAssignment
from privacy.jobs.plan import performance_of
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.loading import load_units
from privacy.training.opacus_engine import OpacusEngine
from privacy.training.plan_runner import RunState, first_state, released_weights, run_plan
from privacy.training.rows import RowEncoder
from privacy.training.runner import quiet_arithmetic


class Silent:
    """Nobody to ask and nothing to keep."""

    def may_start(self, upto: int) -> bool:  # noqa: ARG002 - the protocol's
        """Yes."""
        return True

    def save(self, state: RunState) -> None:
        """Nothing."""


def main() -> None:
    """Train."""
    given = sys.stdin.buffer.read()
    quiet_arithmetic()
    assignment = TrainingAssignment.from_bytes(given[KEY_BYTES:])
    plan, model = assignment.plan, assignment.model()
    encoder = RowEncoder(assignment.table.features, assignment.table.schema)
    engine = OpacusEngine(model, plan.loss)
    with SecretBytes(given[:KEY_BYTES]) as key:
        units = load_units(assignment.table, encoder, key)
    cut, witness = performance_of(plan, model), Witness(Claims.of(plan))
    state = run_plan(plan, cut, engine, units, Silent(), first_state(assignment.graph), witness)
    released_weights(plan, model.graph, state)


if __name__ == "__main__":
    main()

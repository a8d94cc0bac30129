"""The child of a synthetic table: assignment, key, rows, exact counts, noise, choices, result. Child only.

Rules
-----
1. Noise is added here and pairs are chosen here, before anything is sent; exact counts and scores die with the process.
2. That noise and choices are worth the plan's price is checked, in exact fractions, before the child has a key.
3. One outcome: nothing is raised because of a value. The result's form follows from the plan and the chosen tree, which
   is part of the result and priced.
4. How long it takes depends on the number of rows and on draws; both are told to nobody but through a quantised time.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.jobs.assignment_head import LIMIT, Role, require_role
from privacy.jobs.measurements import Measurement
from privacy.jobs.synthesis_assignment import SynthesisAssignment
from privacy.jobs.synthesis_plan import SynthesisPlan
from privacy.jobs.synthesis_spec import Pair, SynthesisSpec
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.statistics.measuring import measure
from privacy.statistics.rehearsal import rehearse
from privacy.statistics.report import kept
from privacy.synthesis.choosing import choose_tree
from privacy.synthesis.expecting import scores
from privacy.synthesis.report import Branch, Counted, read_synthesis, synthesis_bytes
from privacy.training.dialogue import LARGEST_BODY, ask, expect

Whole = NDArray[np.int64]


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Answer one request over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment is wrong, or a part does not open.
    """
    require_role(request, Role.SYNTHESIS)
    of = SynthesisAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    measurements = measured(of.spec)
    rehearsed = counted(of.spec, of.plan, rehearse(of.schema, measurements))
    read_synthesis(of.spec, of.plan, synthesis_bytes(of.spec, of.plan, rehearsed))
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    if not ask(channel, 1):
        return
    with SecretBytes(body[:KEY_BYTES]) as key:
        exact = measure(of.parts, key, of.unit, measurements)
    found = counted(of.spec, of.plan, exact)
    channel.send({"m": "result", "steps": 1}, synthesis_bytes(of.spec, of.plan, found))


def measured(spec: SynthesisSpec) -> list[Measurement]:
    """What is counted: every column, then every pair of columns."""
    return [*spec.singles, *spec.pairs.values()]


def counted(spec: SynthesisSpec, plan: SynthesisPlan, exact: Sequence[Whole], entropy: Entropy = os.urandom) -> Counted:
    """Noisy columns, a tree that is chosen by them, noisy pairs of that tree.

    Guarantee: All of it together is released with `plan.rho` zCDP for one unit; `SynthesisPlan.require_price` says why.

    Args:
        spec: What is asked.
        plan: With which noise.
        exact: What `measured` lists, counted.
        entropy: Where randomness comes from; in production the operating system.
    """
    plan.require_price()
    source = ExactSource(entropy)
    columns = tuple(_noisy(numbers, plan.column_deviation, source) for numbers in exact[: len(plan.cells)])
    pairs: dict[Pair, Whole] = dict(zip(spec.pairs, exact[len(plan.cells) :], strict=True))
    found = scores(columns, pairs, plan.slices, float(plan.pair_deviation.number))
    tree = choose_tree(len(plan.cells), found, Fraction(plan.steepness.number), source)
    return Counted(columns, tuple(Branch(pair, _noisy(pairs[pair], plan.pair_deviation, source)) for pair in tree))


def _noisy(numbers: Whole, deviation: Parameter, source: ExactSource) -> tuple[int, ...]:
    drawn = source.gaussians(len(numbers), Fraction(deviation.number) ** 2)
    return tuple(kept(number + noise) for number, noise in zip(numbers.tolist(), drawn, strict=True))

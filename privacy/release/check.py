"""Checking a certificate by itself: every number that follows from other numbers in it.

Rules
-----
1. Standard library and the kernel only: an auditor's laptop recomputes every price.
2. A stated figure must be at least ours and at most 1.01 of ours (RULES 24): never too small, never padded.
3. Problems are collected, not raised, so that one run shows all of them. What needs the log is asked by the bundle
   verifier (`privgate.verify`), which has it.

Format: docs/formats/certificate.md, "What a checker demands".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Protocol

from kernel.amounts import Amount, Delta, Rdp
from kernel.errors import PrivgateError
from kernel.events import Parameter
from privacy.accounting.mechanisms import (
    Gaussian,
    MechanismUse,
    PoissonSampledGaussian,
    PrivateSelection,
    has_loss_distribution,
    of_one_try,
)
from privacy.accounting.price import price
from privacy.accounting.rdp import JobEpsilon, capacity, epsilon_at, job_epsilon
from privacy.budget.reservations import Block
from privacy.release.certificate import ChargedMechanism, Guarantee, Predicate, SelfTestFacts, ThisJobAlone
from privacy.selftest.claims import Claims
from privacy.selftest.report import failed, judge, require_whole

MOST = Decimal("1.01")
MOST_NOISE = Decimal("1.25")
"""Under adaptive clipping the gradients' noise is above the multiplier, to pay for the count beside them."""


def check(predicate: Predicate) -> tuple[str, ...]:
    """Return every problem of a certificate's numbers; none means that they follow from each other."""
    return tuple(_problems(predicate))


class Priced(Protocol):
    """What has a price: a certificate of one population, or one site's part in that of several."""

    @property
    def mechanisms(self) -> tuple[ChargedMechanism, ...]:
        """What was charged."""
        ...

    @property
    def guarantee(self) -> Guarantee:
        """How the charge stands in its population."""
        ...

    @property
    def this_job_alone(self) -> ThisJobAlone:
        """The job by itself."""
        ...


def priced_problems(priced: Priced) -> Iterator[str]:
    """Every problem of a price: it follows from its mechanisms and fits its budget; raise if it has none."""
    yield from _price_problems(priced)
    yield from _alone_problems(priced)
    yield from _budget_problems(priced)


def charged_by_block(predicate: Priced) -> dict[Block, Rdp]:
    """Our own price of what was charged, for each block, at the certificate's order; `InvalidError` if it has none."""
    sums: dict[Block, Rdp] = {}
    for part in predicate.mechanisms:
        ours = price(part.mechanism, order=predicate.guarantee.order)
        for block in part.blocks:
            sums[block] = sums.get(block, Rdp.zero()) + ours
    return sums


def uses_by_block(parts: Iterable[ChargedMechanism]) -> tuple[tuple[MechanismUse, ...], ...]:
    """What was charged, for each block by itself; blocks that were charged alike stand once."""
    blocks: dict[Block, tuple[MechanismUse, ...]] = {}
    for part in parts:
        for block in part.blocks:
            blocks[block] = (*blocks.get(block, ()), part.mechanism)
    return tuple(dict.fromkeys(blocks.values()))


def alone_at(blocks: Iterable[tuple[MechanismUse, ...]], delta: Delta) -> JobEpsilon:
    """The job by itself: of the block that it costs most, because nobody is in two of them."""
    return max((job_epsilon(*uses, delta=delta) for uses in blocks), key=lambda alone: alone.epsilon)


def unamplified(uses: tuple[MechanismUse, ...]) -> tuple[MechanismUse, ...]:
    """The same uses for whoever could see which units were sampled: at rate 1."""
    return tuple(map(_unamplified, uses))


def _unamplified(use: MechanismUse) -> MechanismUse:
    match use:
        case PoissonSampledGaussian():
            return dataclasses.replace(use, sampling_rate=Parameter(1))
        case PrivateSelection():
            return dataclasses.replace(use, base=_unamplified(use.base))
        case _:
            return use


def _problems(predicate: Predicate) -> Iterator[str]:
    try:
        yield from priced_problems(predicate)
        yield from _self_test_problems(predicate)
        yield from _selection_problems(predicate)
    except PrivgateError as error:
        yield f"a figure cannot be recomputed: {error.message}"


def _price_problems(predicate: Priced) -> Iterator[str]:
    stated = predicate.guarantee.charge
    if not any(_agrees(stated, ours) for ours in charged_by_block(predicate).values()):
        yield "the stated charge is not the price of the mechanisms in any block"


def _alone_problems(predicate: Priced) -> Iterator[str]:
    alone, blocks = predicate.this_job_alone, uses_by_block(predicate.mechanisms)
    if alone.delta != predicate.guarantee.delta:
        yield "this job's epsilon is not stated at the population's delta"
    at_order = [epsilon_at(*uses, order=alone.order, delta=alone.delta) for uses in blocks]
    least = alone_at(blocks, alone.delta).epsilon
    if alone.epsilon < least or not any(_agrees(alone.epsilon, ours) for ours in at_order):
        yield "this job's epsilon does not follow from its mechanisms"
    if not _agrees(alone.unamplified_epsilon, alone_at(map(unamplified, blocks), alone.delta).epsilon):
        yield "the epsilon without secrecy of the sample does not follow from the mechanisms"
    expressible = all(has_loss_distribution(part.mechanism) for part in predicate.mechanisms)
    if expressible == (alone.pld_epsilon is None):
        yield "an epsilon by privacy loss distributions is stated of what has none, or missing of something else"


def _budget_problems(predicate: Priced) -> Iterator[str]:
    stated = predicate.guarantee
    if capacity(stated.epsilon, stated.delta, stated.order) != stated.capacity:
        yield "the capacity does not follow from epsilon, delta and order"
    if stated.before + stated.charge > stated.capacity:
        yield "the population was overdrawn"


def _self_test_problems(predicate: Predicate) -> Iterator[str]:
    """Figures of a training's self-test, judged again and held to what is stated about them."""
    tried = map(of_one_try, (part.mechanism for part in predicate.mechanisms))
    sampled = [use for use in tried if isinstance(use, PoissonSampledGaussian)]
    stated = predicate.self_test
    if not sampled:
        if stated != SelfTestFacts(ran=False):
            yield "a self-test of a mechanism that has none is stated"
        return
    if not stated.ran or stated.figures is None or stated.noise is None or predicate.engine.normaliser is None:
        yield "training without a self-test, or without its figures"
        return
    use, noise, figures = sampled[0], stated.noise, require_whole(stated.figures)
    if stated != SelfTestFacts.of(figures, noise, predicate.this_job_alone):
        yield "what is stated about the self-test does not follow from its figures"
    most = use.noise_multiplier.number * (MOST_NOISE if predicate.engine.clipping == "adaptive" else 1)
    if not use.noise_multiplier.number <= noise.number <= most:
        yield "the self-test was held against other noise than was charged"
    claims = Claims(
        noise=float(noise.number),
        rate=float(use.sampling_rate.number),
        normaliser=float(predicate.engine.normaliser.number),
    )
    for check_ in failed(judge(figures, claims, sampled)):
        yield f"the self-test fails its check {check_}"


def _selection_problems(predicate: Predicate) -> Iterator[str]:
    """A selection releases one candidate, whose recipe is that of the try that was priced."""
    selections = [p.mechanism for p in predicate.mechanisms if isinstance(p.mechanism, PrivateSelection)]
    stated = predicate.selection
    if not selections and stated is None:
        return
    if not selections or stated is None:
        yield "a selection without its candidate, or a candidate without its selection"
        return
    kinds = [type(use.base) for use in selections]
    if kinds != [PoissonSampledGaussian, Gaussian] or len(kinds) != len(predicate.mechanisms):
        yield "a selection trains on one side of the split and scores on the other, and nothing else"
    if len({(use.tries, use.count) for use in selections}) != 1:
        yield "the blocks of a selection tell different tries"
    recipe, trained = stated.recipe, [u.base for u in selections if isinstance(u.base, PoissonSampledGaussian)]
    if [(u.sampling_rate, u.steps) for u in trained] != [(recipe.sampling_rate, recipe.steps)]:
        yield "the candidate's recipe is not that of the try that was priced"
    if (predicate.engine.clip, predicate.engine.clipping) != (recipe.clip, recipe.clipping.value):
        yield "the engine's clip is not that of the candidate's recipe"


def _agrees(stated: Amount, ours: Amount) -> bool:
    return ours.value <= stated.value <= ours.value * MOST

"""Worker only: dp-accounting must agree with our prices before a certificate is signed.

Rules
-----
1. Its divergence at the given order lies within 1e-9 of ours, relatively, before rounding. Where the divergence is so
   small that doubles do not carry nine digits of it, their rounding error is allowed beside that (`_FLOAT_ERROR`).
2. Its epsilon by privacy loss distributions is not above ours. That figure is an upper estimate on a grid, so where it
   is above ours a finer grid decides.
3. Both depend on declared parameters alone: run this before the envelope opens. A failure says nothing of any row.
4. A mechanism that dp-accounting cannot express, or any error inside it, is no agreement. It is none tomorrow either:
   the answer follows from the same parameters, so a job that gets it ends and is not tried again.
5. Of a selection its divergences of one try are put into both bounds anew, in doubles. Privacy loss distributions do
   not express a selection, nor what is known to be zCDP and no more: where there is one, no such epsilon is stated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version

from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import common, privacy_loss_distribution
from dp_accounting.rdp import RdpAccountant

from kernel.amounts import Delta, Epsilon
from kernel.errors import ConflictError, UnavailableError
from kernel.events import Parameter, Record
from kernel.ids import Slug
from privacy.accounting.mechanisms import (
    Gaussian,
    MechanismUse,
    PoissonSampledGaussian,
    PrivateSelection,
    PureDp,
    ZeroConcentrated,
    has_loss_distribution,
)
from privacy.accounting.orders import NEAR, lowest
from privacy.accounting.price import divergence
from privacy.accounting.rdp import job_epsilon

LIBRARY = Slug("dp-accounting")
RELATIVE = Decimal("1e-9")
# Error of ln A in doubles for one time and each unit of the order; measured at most a third of it up to order 4096.
_FLOAT_ERROR = Decimal("3e-15")
_GRIDS = (1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, kw_only=True)
class Agreement(Record):
    """What the second accountant said of the same uses.

    Attributes:
        library, version: Who said it.
        order, rdp: Its divergence at the order that was asked for.
        delta, pld_epsilon: Its epsilon at that delta, by privacy loss distributions, where they express the uses.
    """

    library: Slug
    version: Slug
    order: int
    rdp: Parameter
    delta: Delta
    pld_epsilon: Parameter | None = None


def agree(uses: Sequence[MechanismUse], *, order: int, delta: Delta) -> Agreement:
    """Ask dp-accounting for the same figures; return them if it agrees.

    Raises:
        ConflictError: It does not agree, or has no such mechanism, and will not tomorrow. Nothing may be signed.
        UnavailableError: It had no memory to say.
    """
    try:
        rdp = sum(_rdp(use, order) for use in uses)
        pld_epsilon = _pld_epsilon(uses, delta, job_epsilon(*uses, delta=delta).epsilon) if _expressible(uses) else None
    except MemoryError:
        raise UnavailableError("dp-accounting ran out of memory on the price of this job") from None
    except (ArithmeticError, TypeError, ValueError):
        raise _disagreement() from None
    if not _close(rdp, uses, order):
        raise _disagreement()
    return Agreement(
        library=LIBRARY,
        version=Slug(version(LIBRARY)),
        order=order,
        rdp=Parameter(repr(rdp)),
        delta=delta,
        pld_epsilon=None if pld_epsilon is None else Parameter(repr(pld_epsilon)),
    )


def _disagreement() -> ConflictError:
    return ConflictError("dp-accounting does not confirm the price of this job: nothing is signed", field="mechanism")


def _close(theirs: float, uses: Sequence[MechanismUse], order: int) -> bool:
    if not math.isfinite(theirs):
        return False
    ours = divergence(*uses, order=order)
    times = sum(use.runs for use in uses)
    allowed = RELATIVE * ours + _FLOAT_ERROR * times * order / (order - 1)
    return abs(Decimal(theirs) - ours) <= allowed


def _expressible(uses: Sequence[MechanismUse]) -> bool:
    return all(map(has_loss_distribution, uses))


def _rdp(use: MechanismUse, order: int) -> float:
    match use:
        case PrivateSelection():
            one = functools.cache(lambda at: _rdp(use.base, at))
            return use.times * min(_composed(use, one, order), _selected(use, one, order))
        case PoissonSampledGaussian():
            noise = dp_event.GaussianDpEvent(float(use.noise_multiplier))
            event: dp_event.DpEvent = dp_event.PoissonSampledDpEvent(float(use.sampling_rate), noise)
            relation = NeighboringRelation.ADD_OR_REMOVE_ONE
        case Gaussian():
            event = dp_event.GaussianDpEvent(float(use.noise_multiplier))
            relation = NeighboringRelation.ADD_OR_REMOVE_ONE
        case PureDp():
            # Randomised response between two answers is the worst epsilon-DP mechanism; its neighbours swap the answer.
            event = dp_event.RandomizedResponseDpEvent(2 / (1 + math.exp(float(use.epsilon))), 2)
            relation = NeighboringRelation.REPLACE_ONE
        case ZeroConcentrated():
            event = dp_event.ZCDpEvent(rho=float(use.rho))
            relation = NeighboringRelation.ADD_OR_REMOVE_ONE
        case _:
            raise TypeError("no such mechanism in dp-accounting")
    accountant = RdpAccountant([order], relation)
    accountant.compose(dp_event.SelfComposedDpEvent(event, use.times))
    return float(accountant.rdp[0])


def _composed(use: PrivateSelection, one: Callable[[int], float], order: int) -> float:
    """The bound by composition: ln E[exp((a-1) R K)] / (a-1)."""
    exponent, weights = (order - 1) * one(order), use.tries.weights
    moment = math.fsum(
        weight / sum(weights) * math.exp((k - use.tries.most) * exponent) for k, weight in enumerate(weights, start=1)
    )
    return (use.tries.most * exponent + math.log(moment)) / (order - 1)


def _selected(use: PrivateSelection, one: Callable[[int], float], order: int) -> float:
    """Papernot and Steinke 2022, theorem 2, with the mean of the number of tries as it is cut off."""
    spread, mean = -math.log(float(use.tries.gamma)), math.log(float(use.tries.mean))

    def ranked(b: int) -> float:
        return (1 - 1 / b) * one(b) + spread / b

    def first(a: int) -> float:
        return one(a) + mean / (a - 1)

    best = lowest(lambda b: Decimal(ranked(b)), NEAR)
    start = lowest(lambda a: Decimal(first(a)), order, least=order)
    return first(start) + (1 + float(use.tries.shape)) * ranked(best)


def _pld_epsilon(uses: Sequence[MechanismUse], delta: Delta, ours: Epsilon) -> float:
    for theirs in _estimates(uses, float(delta.value)):
        if math.isfinite(theirs) and Decimal(theirs) <= ours.value:
            return max(theirs, 0.0)
    raise ValueError("above ours on every grid")


def _estimates(uses: Sequence[MechanismUse], delta: float) -> Iterator[float]:
    for grid in _GRIDS:
        composed = privacy_loss_distribution.identity(value_discretization_interval=grid)
        for use in uses:
            composed = composed.compose(_losses(use, grid))
        yield float(composed.get_epsilon_for_delta(delta))


def _losses(use: MechanismUse, grid: float) -> privacy_loss_distribution.PrivacyLossDistribution:
    match use:
        case PoissonSampledGaussian():
            return privacy_loss_distribution.from_gaussian_mechanism(
                float(use.noise_multiplier), sampling_prob=float(use.sampling_rate), value_discretization_interval=grid
            ).self_compose(use.times)
        case Gaussian():
            return privacy_loss_distribution.from_gaussian_mechanism(
                float(use.noise_multiplier) / math.sqrt(use.times), value_discretization_interval=grid
            )
        case PureDp():
            pure = common.DifferentialPrivacyParameters(float(use.epsilon), 0)
            return privacy_loss_distribution.from_privacy_parameters(pure, grid).self_compose(use.times)
        case _:
            raise TypeError("no such mechanism in dp-accounting")

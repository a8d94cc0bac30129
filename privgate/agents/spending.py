"""What answers with noise cost the people behind a dataset, by the site's own reckoning.

Rules
-----
1. The gateway's ledger is the gateway's word. A site counts for itself: rho of every round that it answered, from its
   own log, whoever ordered it and for whatever request.
2. An order is refused whose rounds, all of them, no longer fit beside what was spent. What other jobs that still run
   may spend is not set aside: whichever no longer fits is refused then, and the limit holds.
3. A round costs what its Gaussians of the stated multiplier cost, rho = count / (2 z^2), rounded up. That is against
   whoever does not know the noise of more sites than the order tolerates: against all others together it is more.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from kernel.events import Parameter
from kernel.ids import PopulationId
from privacy.homomorphic.noise import SiteNoise
from privgate.agents.course import Course
from privgate.agents.deeds import Cost, History, JobHistory
from privgate.agents.rules import Rules

_DOWN: Final = Context(prec=28, rounding=ROUND_FLOOR)
_UP: Final = Context(prec=28, rounding=ROUND_CEILING)
_SUM: Final = Context(prec=60, rounding=ROUND_CEILING)


def rho_of(noise: SiteNoise, gaussians: int = 1) -> Parameter:
    """What so many Gaussians of a job's noise cost."""
    multiplier = noise.noise_multiplier.number
    twice_square = _DOWN.multiply(2, _DOWN.multiply(multiplier, multiplier))
    return Parameter(_UP.divide(Decimal(gaussians), twice_square))


def cost_of(course: Course, number: int, population: PopulationId) -> Cost | None:
    """What the answer to a round costs; nothing without noise, or where a round before paid for it."""
    gaussians = dict(enumerate(course.gaussians, start=1)).get(number, 0)
    if course.noise is None or not gaussians:
        return None
    return Cost(population=population, rho=rho_of(course.noise, gaussians))


def require_fitting(
    rules: Rules, history: History, job: JobHistory, course: Course, rounds: int, population: PopulationId
) -> None:
    """Return if all rounds that a job may still have fit beside what was spent; raise `RefusalError` otherwise."""
    answered = max(job.answered, default=0)
    costs = [cost_of(course, number, population) for number in range(answered + 1, rounds + 1)]
    left = [cost.rho.number for cost in costs if cost is not None]
    if not left:
        return
    total = history.spent.get(population, Decimal(0))
    for rho in left:
        total = _SUM.add(total, rho)
    rules.require_rho(total)

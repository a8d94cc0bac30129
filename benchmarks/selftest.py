"""False alarms of the self-test, and what it costs: honest runs with the production's noise and samples.

    python -m benchmarks.selftest [RUNS]

Prints JSON lines: runs that were blocked (to be zero), the smallest p-value of any check, how the reported 95 % bound
lies against the epsilon of the run, and the microseconds that watching adds to a step.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from benchmarks.lines import Line
from kernel.amounts import Delta
from kernel.events import Parameter
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.accounting.rdp import job_epsilon
from privacy.selftest.claims import Claims
from privacy.selftest.report import REHEARSED, bound_at, failed, judge
from privacy.selftest.witness import Witness
from privacy.training.sampling import poisson_sample
from privacy.training.stream import NoiseStream

RUNS = 10_000
SHAPES = (("0.5", "6", 40), ("0.126", "2.41", 60), ("0.02", "0.9", 80), ("1", "9", 20), ("0.3", "1.5", 1))
"""Rate, noise multiplier, steps: weak and strong noise, all and few of the units, and a single step."""
LIVE = 119
DELTA = Delta.up("0.000001")


def honest(runs: int) -> Iterator[Line]:
    """Judge so many honest runs, in turns over the shapes."""
    stream, blocked, above = NoiseStream(), Counter[str](), 0
    least, bounds, watching, steps = 1.0, [], 0.0, 0
    for number in range(runs):
        rate, noise, length = SHAPES[number % len(SHAPES)]
        claims = Claims(noise=float(noise), rate=float(rate), normaliser=100.0)
        use = PoissonSampledGaussian(sampling_rate=Parameter(rate), noise_multiplier=Parameter(noise), steps=length)
        witness = Witness(claims)
        for _ in range(length):
            drawn = poisson_sample(witness.units, claims.rate, stream.draw)
            numbers = stream.gaussians(LIVE + witness.coordinates)
            dead = (witness.moves(drawn) + claims.noise * numbers[LIVE:]) / claims.normaliser
            start = time.perf_counter()
            witness.hear(numbers, 0, len(numbers))
            witness.observe(dead=dead, canaries=drawn)
            watching += time.perf_counter() - start
        steps += length
        test = witness.report(REHEARSED)
        findings = judge(test, claims, [use])
        blocked.update(check.value for check in failed(findings))
        least = min(least, *(finding.p for finding in findings if finding.p is not None))
        share = float(bound_at(test, DELTA).number) / float(job_epsilon(use, delta=DELTA).epsilon.value)
        bounds.append(share)
        above += share > 1
    case = f"{runs} honest runs, {len(SHAPES)} shapes, {witness.coordinates} coordinates"
    yield Line(quantity="selftest_blocks", case=case, value=sum(blocked.values()), unit="checks")
    yield Line(quantity="selftest_least_p", case=case, value=least, unit="probability")
    yield Line(quantity="selftest_bound_above_claim", case=case, value=above / runs, unit="share of runs")
    for quantile in (0.5, 0.95, 1.0):
        value = float(np.quantile(bounds, quantile))
        yield Line(quantity=f"selftest_bound_over_claim_q{quantile}", case=case, value=value, unit="ratio")
    yield Line(quantity="selftest_watching", case=case, value=1e6 * watching / steps, unit="us per step")


def main() -> None:
    """Run and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    for line in honest(runs):
        print(line.text(), flush=True)


if __name__ == "__main__":
    main()

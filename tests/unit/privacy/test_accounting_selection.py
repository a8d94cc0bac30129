"""Private selection: the price is above what any selection reveals, and what two others compute."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.amounts import Delta, Rdp
from kernel.errors import ConflictError, InvalidError
from kernel.events import Parameter
from privacy.accounting import google
from privacy.accounting.mechanisms import Gaussian, MechanismUse, PoissonSampledGaussian, PrivateSelection, PureDp
from privacy.accounting.orders import HIGHEST_ORDER, LEAST_ORDER
from privacy.accounting.price import EXACT, SLACK, Way, divergence, price
from privacy.accounting.rdp import epsilon_at, exact_epsilon, job_epsilon
from privacy.accounting.tries import MOST_TRIES, Tries

DELTA = Delta.parse("0.000001")
ERROR = Decimal("5e-41")


def tries(most: int = 10, shape: str = "0", gamma: str = "0.1") -> Tries:
    """A distribution of the number of tries."""
    return Tries(most=most, shape=Parameter(shape), gamma=Parameter(gamma))


def selection(base: MechanismUse, of: Tries, count: int = 1) -> PrivateSelection:
    """Selections of the best of several runs of `base`."""
    return PrivateSelection(base=base, tries=of, count=count)


def gaussian(noise: str, count: int = 1) -> Gaussian:
    """Plain Gaussian sums."""
    return Gaussian(noise_multiplier=Parameter(noise), count=count)


def pure(epsilon: str) -> PureDp:
    """One pure mechanism."""
    return PureDp(epsilon=Parameter(epsilon), count=1)


def steps(rate: str, noise: str, count: int) -> PoissonSampledGaussian:
    """Steps of the sampled Gaussian."""
    return PoissonSampledGaussian(sampling_rate=Parameter(rate), noise_multiplier=Parameter(noise), steps=count)


def chances(of: Tries) -> list[float]:
    """P(K = 1), P(K = 2), ..."""
    return [weight / sum(of.weights) for weight in of.weights]


distributions = st.builds(
    tries,
    most=st.integers(1, 12),
    shape=st.sampled_from(["0", "0.5", "1", "3"]),
    gamma=st.sampled_from(["0.01", "0.1", "0.5", "0.9"]),
)


def test_the_distribution_is_the_declared_one() -> None:
    """Shape 0 is the logarithmic distribution and shape 1 the geometric one, each cut off and exact."""
    logarithmic = tries(6, "0", "0.25").weights
    wanted = [Fraction(3, 4) ** k / k for k in range(1, 7)]
    assert [Fraction(w, sum(logarithmic)) for w in logarithmic] == [w / sum(wanted) for w in wanted]
    geometric = tries(6, "1", "0.25").weights
    assert [Fraction(b, a) for a, b in itertools.pairwise(geometric)] == [Fraction(3, 4)] * 5
    assert tries(1).mean == 1
    assert tries(MOST_TRIES, "1", "0.5").mean == pytest.approx(2, abs=1e-12)


@pytest.mark.parametrize("other", ["0", "0.5", "2"])
def test_the_untruncated_mean_is_that_of_the_paper(other: str) -> None:
    """Far cut off, the mean is that of the truncated negative binomial as dp-accounting has it."""
    from dp_accounting.rdp import rdp_privacy_accountant as theirs

    found = float(tries(MOST_TRIES, other, "0.4").mean)
    assert found == pytest.approx(theirs._truncated_negative_binomial_mean(0.4, float(other)), rel=1e-12)


BASES = [pure("0.1"), pure("0.28"), pure("2"), gaussian("40"), gaussian("1.2"), steps("0.3", "2", 40)]


@functools.cache
def by_order(base: MechanismUse) -> dict[int, mpmath.mpf]:
    """The divergence of one try at every order that may matter: of a pure mechanism the largest order may."""
    last = HIGHEST_ORDER if isinstance(base, PureDp) else 400
    with mpmath.workdps(200), localcontext(EXACT):
        return {at: mpmath.mpf(str(divergence(base, order=at))) for at in range(LEAST_ORDER, last + 1)}


@pytest.mark.parametrize("order", [2, 8, 30])
@pytest.mark.parametrize("base", BASES, ids=lambda use: json.dumps(use.to_fields()))
def test_prices_lie_within_the_stated_error(base: MechanismUse, order: int) -> None:
    """Both bounds, written down anew with 200 digits and every order tried, differ by the slack alone."""
    for of in (tries(), tries(3, "2", "0.5"), tries(40, "1", "0.03")):
        use = selection(base, of, count=3)
        one = by_order(base)
        with mpmath.workdps(200), localcontext(EXACT):
            mean, gamma = mpmath.mpf(of.mean.numerator) / of.mean.denominator, mpmath.mpf(str(of.gamma))
            moment = mpmath.fsum(
                mpmath.mpf(w) / sum(of.weights) * mpmath.exp(k * (order - 1) * one[order])
                for k, w in enumerate(of.weights, start=1)
            )
            composed = mpmath.log(moment) / (order - 1)
            best = min(((b - 1) * one[b] - mpmath.log(gamma)) / b for b in one)
            first = min(one[a] + mpmath.log(mean) / (a - 1) for a in one if a >= order)
            selected = first + (1 + mpmath.mpf(str(of.shape))) * best
            for way, exact in ((Way.COMPOSITION, composed), (Way.SELECTION, selected)):
                off = divergence(use, order=order, way=way) - 3 * Decimal(mpmath.nstr(exact, 150, strip_zeros=False))
                assert abs(off - 3 * SLACK) <= 3 * ERROR, way
        assert divergence(use, order=order) == min(divergence(use, order=order, way=way) for way in list(Way)[1:])


def test_both_regimes() -> None:
    """RULES 16: at alpha 3, ten tries of epsilon 0.28 are cheaper composed, and of epsilon 6 cheaper by the theorem."""
    small, large = selection(pure("0.28"), tries()), selection(pure("6"), tries())
    assert price(small, order=3) == price(small, order=3, way=Way.COMPOSITION)
    assert price(small, order=3) < price(small, order=3, way=Way.SELECTION)
    assert price(large, order=3) == price(large, order=3, way=Way.SELECTION)
    assert price(large, order=3) < price(large, order=3, way=Way.COMPOSITION)


def test_composing_costs_less_than_as_many_tries_as_there_may_be() -> None:
    """The number of tries is random, so composing costs between its mean and its most times one try."""
    for base in BASES:
        use, one = selection(base, tries()), divergence(base, order=8)
        mean = Decimal(use.tries.mean.numerator) / Decimal(use.tries.mean.denominator)
        composed = divergence(use, order=8, way=Way.COMPOSITION)
        assert mean * one <= composed <= 10 * one + SLACK * 2
    tiny = selection(pure("0.0001"), tries())
    one, composed = divergence(tiny.base, order=3), divergence(tiny, order=3, way=Way.COMPOSITION)
    assert composed / one == pytest.approx(Decimal(float(tiny.tries.mean)), rel=Decimal("1e-6"))


def selected_distribution(one: np.ndarray[Any, Any], of: Tries) -> np.ndarray[Any, Any]:
    """What leaves if the best of K draws leaves; outcomes stand in the order of their scores, the worst first."""
    upto = np.concatenate([[0.0], np.cumsum(one)])
    generating = sum(chance * upto**k for k, chance in enumerate(chances(of), start=1))
    return np.diff(generating)


def renyi(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any], order: int) -> float:
    """The divergence of two distributions on finitely many outcomes."""
    return float(np.log(np.sum(left**order * right ** (1 - order))) / (order - 1))


@settings(max_examples=200, deadline=None)
@given(
    of=distributions,
    epsilon=st.sampled_from(["0.05", "0.5", "1", "3"]),
    parts=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=2, max_size=5),
    order=st.sampled_from([2, 3, 8, 20]),
)
def test_no_selection_of_a_pure_mechanism_reveals_more(
    of: Tries, epsilon: str, parts: list[tuple[float, float]], order: int
) -> None:
    """Brute force: whatever the mechanism and however its outcomes are ranked, what the best one tells is paid for."""
    e = float(epsilon)
    base = np.array([weight for weight, _ in parts])
    tilt = np.exp(e / 2 * np.array([2 * push - 1 for _, push in parts]))
    left, right = base / base.sum(), base * tilt / (base * tilt).sum()
    # Tilts within [-e/2, e/2] and their common factor keep every ratio within [exp(-e), exp(e)].
    assert np.all(np.abs(np.log(left / right)) <= e + 1e-12)
    paid = float(divergence(selection(pure(epsilon), of), order=order))
    for ranking in itertools.permutations(range(len(parts))):
        best, other = (selected_distribution(one[list(ranking)], of) for one in (left, right))
        assert renyi(best, other, order) <= paid + 1e-9
        assert renyi(other, best, order) <= paid + 1e-9


@pytest.mark.parametrize("noise", ["0.5", "1.2", "4", "30"])
@pytest.mark.parametrize("of", [tries(), tries(30, "1", "0.05"), tries(5, "4", "0.3")], ids=lambda of: f"{of.most}")
def test_no_selection_of_a_gaussian_mechanism_reveals_more(noise: str, of: Tries) -> None:
    """The largest of K noisy figures: the divergence by numerical integration is below either bound."""
    shift, chance = 1 / float(noise), chances(of)
    y = np.linspace(-30, 30 + shift, 40_001)

    def log_selected(mean: float) -> np.ndarray[Any, Any]:
        below = np.array([math.erfc((mean - point) / math.sqrt(2)) / 2 for point in y])
        slope = sum(k * p * below ** (k - 1) for k, p in enumerate(chance, start=1))
        return np.asarray(np.log(slope) - (y - mean) ** 2 / 2 - math.log(2 * math.pi) / 2)

    width, left, right = y[1] - y[0], log_selected(0.0), log_selected(shift)
    for order in (2, 3, 8):
        for a, b in ((left, right), (right, left)):
            exponent = order * a + (1 - order) * b
            most = exponent.max()
            found = (most + np.log(np.sum(np.exp(exponent - most)) * width)) / (order - 1)
            for way in (Way.COMPOSITION, Way.SELECTION):
                assert found <= float(divergence(selection(gaussian(noise), of), order=order, way=way)) + 1e-6


@pytest.mark.parametrize("shape", ["0", "1", "2.5"])
@pytest.mark.parametrize("base", [gaussian("2"), steps("0.2", "1.5", 60)], ids=["gaussian", "steps"])
def test_dp_accounting_has_the_same_theorem(base: MechanismUse, shape: str) -> None:
    """Its theorem 2, not cut off, is ours where next to nothing is cut off; where much is, ours is the smaller."""
    from dp_accounting import dp_event
    from dp_accounting.rdp import rdp_privacy_accountant as theirs

    far, near = (selection(base, tries(most, shape, "0.4")) for most in (MOST_TRIES, 2))
    mean = theirs._truncated_negative_binomial_mean(0.4, float(shape))
    orders = list(range(2, 60))
    accountant = theirs.RdpAccountant(orders)
    event: dp_event.DpEvent = dp_event.GaussianDpEvent(2.0)
    if isinstance(base, PoissonSampledGaussian):
        event = dp_event.PoissonSampledDpEvent(0.2, dp_event.GaussianDpEvent(1.5))
    accountant.compose(
        dp_event.RepeatAndSelectDpEvent(dp_event.SelfComposedDpEvent(event, base.times), mean, float(shape))
    )
    for order in (2, 3, 8, 20):
        figure = float(accountant.rdp[orders.index(order)])
        assert float(divergence(far, order=order, way=Way.SELECTION)) == pytest.approx(figure, rel=1e-8)
        assert float(divergence(near, order=order, way=Way.SELECTION)) < figure


JOBS = [
    selection(steps("0.5", "8", 60), tries(16, "0", "0.02"), 2),
    selection(gaussian("30"), tries()),
    selection(pure("3"), tries()),
]


@pytest.mark.parametrize("use", JOBS, ids=range(len(JOBS)))
def test_the_second_accountant_agrees(use: PrivateSelection, monkeypatch: pytest.MonkeyPatch) -> None:
    """RULES 25: from its own divergences of one try it comes to our price and no other; it states no PLD epsilon."""
    agreement = google.agree([use], order=8, delta=DELTA)
    assert agreement.pld_epsilon is None
    assert agreement.rdp.number == pytest.approx(divergence(use, order=8), rel=Decimal("1e-8"))
    assert google.Agreement.from_fields(agreement.to_fields()) == agreement
    fewer = selection(use.base, tries(use.tries.most - 1, use.tries.shape, use.tries.gamma), use.count)
    monkeypatch.setattr(google, "divergence", lambda *_, order: divergence(fewer, order=order))
    with pytest.raises(ConflictError):
        google.agree([use], order=8, delta=DELTA)


@pytest.mark.parametrize("use", JOBS, ids=range(len(JOBS)))
def test_the_jobs_epsilon_is_the_least_of_any_order(use: PrivateSelection) -> None:
    """The search by each bound finds what trying every order finds; a verifier recomputes it at the stated order."""
    found = job_epsilon(use, delta=DELTA)
    every = min(exact_epsilon(use, order=order, delta=DELTA) for order in range(LEAST_ORDER, 200))
    assert found.epsilon.value - every <= Decimal("1e-9")
    assert epsilon_at(use, order=found.order, delta=DELTA) == found.epsilon
    for near in (2, 31, 300):
        assert job_epsilon(use, delta=DELTA, near=near) == found


def test_more_of_anything_costs_no_less() -> None:
    """A price rises with the order, the tries and the selections, and falls with noise."""
    for noise in ("0.7", "5", "50"):
        usual = price(selection(gaussian(noise), tries()), order=8)
        assert price(selection(gaussian(noise), tries()), order=9) >= usual
        assert price(selection(gaussian(noise), tries(20)), order=8) >= usual
        assert price(selection(gaussian(noise, 2), tries()), order=8) >= usual
        assert usual * 2 - Rdp(Rdp.QUANTUM) <= price(selection(gaussian(noise), tries(), 2), order=8) <= usual * 2
        assert usual >= price(gaussian(noise), order=8)
        assert price(selection(gaussian(noise), tries(1)), order=8) == price(gaussian(noise), order=8)


def test_what_cannot_be_computed_at_one_order_is_priced_by_others() -> None:
    """A try that overflows at high orders has a price all the same, and one that overflows at the order has none."""
    hard = selection(steps("0.5", "0.05", 1), tries())
    assert price(hard, order=2).value > 0
    with pytest.raises(InvalidError):
        price(hard, order=HIGHEST_ORDER)


FIELDS = selection(gaussian("3"), tries()).to_fields()


@pytest.mark.parametrize(
    "change",
    [
        {"base": FIELDS},
        {"base": None},
        {"base": {"mechanism": "stability-histogram"}},
        {"count": 0},
        {"most": 3},
        {"tries": {"most": 0, "shape": "0", "gamma": "0.1"}},
        {"tries": {"most": MOST_TRIES + 1, "shape": "0", "gamma": "0.1"}},
        {"tries": {"most": 10, "shape": "-0.5", "gamma": "0.1"}},
        {"tries": {"most": 10, "shape": "0", "gamma": "0"}},
        {"tries": {"most": 10, "shape": "0", "gamma": "1"}},
        {"tries": {"most": 10, "shape": "0", "gamma": "0.1234567"}},
        {"tries": {"most": 10, "shape": "0"}},
        {"tries": {"most": 10, "shape": "0", "gamma": "0.1", "mean": "3"}},
    ],
)
def test_a_selection_that_cannot_be_priced_is_refused(change: dict[str, Any]) -> None:
    """RULES 5: no selection of selections, no open distribution, nothing beside what is declared."""
    assert MechanismUse.from_fields(FIELDS).to_fields() == FIELDS
    with pytest.raises(InvalidError):
        MechanismUse.from_fields(FIELDS | change)


def test_the_formats_example_is_true() -> None:
    """The price of the format's selection is what the code computes."""
    page = (Path(__file__).parents[3] / "docs" / "formats" / "mechanism-use.md").read_text(encoding="utf-8")
    found = re.search(r"A selection, `(.*?)`, costs\s+`([0-9.]+)` at order (\d+)", page)
    assert found is not None
    assert str(price(MechanismUse.from_fields(json.loads(found[1])), order=int(found[3]))) == found[2]

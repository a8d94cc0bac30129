"""Mechanism uses: exact, closed, and one written form."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.canonical import decode, encode
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import (
    Gaussian,
    MechanismUse,
    PoissonSampledGaussian,
    PrivateSelection,
    PureDp,
    ZeroConcentrated,
    has_loss_distribution,
)
from privacy.accounting.tries import MOST_TRIES, Tries

STEP = {"mechanism": "poisson-sampled-gaussian", "sampling_rate": "0.01", "noise_multiplier": "1.1", "steps": 1000}

decimals = st.decimals(min_value=Decimal("0.05"), max_value=1000, places=6).map(Parameter)
rates = st.decimals(min_value=Decimal("0.000001"), max_value=1, places=9).filter(bool).map(Parameter)
times = st.integers(1, 10**9)
single = st.one_of(
    st.builds(PoissonSampledGaussian, sampling_rate=rates, noise_multiplier=decimals, steps=times),
    st.builds(Gaussian, noise_multiplier=decimals, count=times),
    st.builds(PureDp, epsilon=decimals, count=times),
    st.builds(ZeroConcentrated, rho=st.decimals(0, 200, places=6).filter(bool).map(Parameter), count=times),
)
tries = st.builds(
    Tries,
    most=st.integers(1, MOST_TRIES),
    shape=st.decimals(min_value=0, max_value=10, places=6).map(Parameter),
    gamma=st.decimals(min_value=Decimal("0.000001"), max_value=Decimal("0.999999"), places=6).map(Parameter),
)
uses = single | st.builds(PrivateSelection, base=single, tries=tries, count=times)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(uses)
def test_what_is_written_reads_as_the_same_use(use: MechanismUse) -> None:
    """Writing and reading a use loses nothing, through canonical JSON too."""
    written = encode(use.to_fields())
    assert MechanismUse.from_fields(decode(written, limit=4096, canonical=True)) == use


@given(st.dictionaries(st.sampled_from([*STEP, "delta", "count", "epsilon"]), json_values) | json_values)
def test_whatever_is_read_is_a_use_or_a_refusal(fields: Any) -> None:
    """Reading never guesses and never fails in another way."""
    try:
        use = MechanismUse.from_fields(fields)
    except InvalidError:
        return
    assert use.to_fields() == fields


@pytest.mark.parametrize(
    "change",
    [
        {"mechanism": "stability-histogram"},
        {"mechanism": "propose-test-release"},
        {"mechanism": None},
        {"delta": "0.000001"},
        {"sampling_rate": "0"},
        {"sampling_rate": "1.01"},
        {"sampling_rate": "-0.5"},
        {"sampling_rate": 0.01},
        {"noise_multiplier": "0"},
        {"noise_multiplier": "0.049"},
        {"noise_multiplier": "1000001"},
        {"noise_multiplier": "NaN"},
        {"steps": 0},
        {"steps": True},
        {"steps": "1000"},
        {"steps": 10**9 + 1},
    ],
)
def test_a_mechanism_that_cannot_be_priced_is_refused(change: dict[str, Any]) -> None:
    """RULES 5: an unknown tag, a delta of its own, or a figure out of range is never accepted."""
    with pytest.raises(InvalidError):
        MechanismUse.from_fields(STEP | change)


def test_a_missing_figure_is_refused() -> None:
    """No member has a default."""
    for name in STEP:
        with pytest.raises(InvalidError):
            MechanismUse.from_fields({key: value for key, value in STEP.items() if key != name})


@pytest.mark.parametrize("rho", ["0", "-0.1", "200.000001", "NaN", 0.5])
def test_a_rho_out_of_range_is_refused(rho: Any) -> None:
    """What costs nothing is no mechanism, and no Gaussian that may be costs more."""
    with pytest.raises(InvalidError):
        MechanismUse.from_fields({"mechanism": "zcdp", "rho": rho, "count": 1})


@given(uses)
def test_what_is_known_by_bounds_alone_has_no_loss_distribution(use: MechanismUse) -> None:
    """So that no epsilon by such distributions is stated of it."""
    assert has_loss_distribution(use) != isinstance(use, PrivateSelection | ZeroConcentrated)


def test_floats_never_become_parameters() -> None:
    """A use is exact: a float is refused where it is built, not only where it is read."""
    with pytest.raises(InvalidError):
        Gaussian(noise_multiplier=1.5, count=1)  # type: ignore[arg-type]


def test_reading_as_one_kind_refuses_another() -> None:
    """Whoever expects a Gaussian does not get sampled steps."""
    with pytest.raises(InvalidError):
        Gaussian.from_fields(STEP)
    assert PoissonSampledGaussian.from_fields(STEP).steps == 1000


def test_a_use_of_no_listed_kind_cannot_be_built() -> None:
    """The union is closed: a subclass without a price does not come to life."""

    class Threshold(MechanismUse):
        TAG = "threshold"
        TIMES = "count"
        count = 1

    with pytest.raises(InvalidError):
        Threshold()


@given(uses, times)
def test_uses_of_one_mechanism_differ_in_times_alone(use: MechanismUse, other: int) -> None:
    """Held and started uses can be told to be the same mechanism."""
    again = use.repeated(other)
    assert again.times == other
    assert again.same_mechanism(use)
    assert again.repeated(use.times) == use

"""Mechanism uses: what was done to private data, in exactly the numbers that its price depends on.

Rules
-----
1. A use is exact: decimals and counts, never floats. Its written form is `docs/formats/mechanism-use.md`.
2. The set is closed: an unknown tag or member is refused, never guessed. A mechanism with a delta of its own has none.
3. One number says how often the mechanism ran (`times`). Held, started and certified uses differ in it alone.
4. Figures are relative to the bound on one unit's influence, for neighbours that add or remove one unit.
5. A selection holds the use of one try; a selection of selections is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Self

from kernel.checks import probability, whole, within
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from privacy.accounting.tries import Tries

LEAST_NOISE = Decimal("0.05")
MOST_NOISE = Decimal(10**6)
MOST_PURE_EPSILON = Decimal(1000)
MOST_RHO = Decimal(200)
"""That of the least Gaussian noise."""
MOST_TIMES = 10**9


@dataclass(frozen=True, kw_only=True)
class MechanismUse(Record):
    """Base of the closed union; build one of the subclasses, read one with `from_fields`.

    It is an abstract record so that an event can carry any of them in one field.
    """

    TAG: ClassVar[str] = ""
    TIMES: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if _BY_TAG.get(self.TAG) is not type(self):
            raise InvalidError("this mechanism has no price here", field="mechanism")
        whole(1, MOST_TIMES, **{self.TIMES: self.times})

    @property
    def times(self) -> int:
        """How often the mechanism ran, or will run."""
        return int(getattr(self, self.TIMES))

    @property
    def runs(self) -> int:
        """How often anything is run at most, every try of a selection included."""
        return self.times

    def repeated(self, times: int) -> Self:
        """The same mechanism, run `times` times in all."""
        return dataclasses.replace(self, **{self.TIMES: times})

    def same_mechanism(self, other: MechanismUse) -> bool:
        """Whether the two differ at most in how often they ran."""
        return self.repeated(1) == other.repeated(1)

    def to_fields(self) -> dict[str, Any]:
        """Encode as a flat object with its tag."""
        return {"mechanism": self.TAG, **super().to_fields()}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Read what `to_fields` writes.

        Raises:
            InvalidError: An unknown tag or member, a missing member, a value out of range.
        """
        tag = fields.get("mechanism") if isinstance(fields, Mapping) else None
        kind = _BY_TAG.get(tag) if isinstance(tag, str) else None
        if kind is None or not issubclass(kind, cls):
            raise InvalidError("`mechanism` must be one of " + ", ".join(sorted(_BY_TAG)), field="mechanism")
        members = {name: value for name, value in fields.items() if name != "mechanism"}
        # Past this class, which only dispatches, to the strict reading of the members of `kind`.
        return super(MechanismUse, kind).from_fields(members)


@dataclass(frozen=True, kw_only=True)
class PoissonSampledGaussian(MechanismUse):
    """Steps that sum the clipped contributions of units sampled independently, with Gaussian noise.

    Attributes:
        sampling_rate: The probability with which a unit enters a step.
        noise_multiplier: The noise's standard deviation over the bound on one unit's Euclidean norm.
        steps: How many such steps; each samples anew.
    """

    TAG = "poisson-sampled-gaussian"
    TIMES = "steps"
    sampling_rate: Parameter
    noise_multiplier: Parameter
    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        probability(sampling_rate=_number(self.sampling_rate, "sampling_rate"))
        within(LEAST_NOISE, MOST_NOISE, noise_multiplier=_number(self.noise_multiplier, "noise_multiplier"))


@dataclass(frozen=True, kw_only=True)
class Gaussian(MechanismUse):
    """Sums over all units with Gaussian noise, or integer sums with discrete Gaussian noise: zCDP.

    Attributes:
        noise_multiplier: The noise's standard deviation over the Euclidean sensitivity.
        count: How many such sums.
    """

    TAG = "gaussian"
    TIMES = "count"
    noise_multiplier: Parameter
    count: int

    def __post_init__(self) -> None:
        super().__post_init__()
        within(LEAST_NOISE, MOST_NOISE, noise_multiplier=_number(self.noise_multiplier, "noise_multiplier"))


@dataclass(frozen=True, kw_only=True)
class PureDp(MechanismUse):
    """Runs of any mechanism that is epsilon-differentially private with delta 0.

    Attributes:
        epsilon: The largest log-likelihood ratio between neighbours, of one run.
        count: How many runs.
    """

    TAG = "pure-dp"
    TIMES = "count"
    epsilon: Parameter
    count: int

    def __post_init__(self) -> None:
        super().__post_init__()
        number = _number(self.epsilon, "epsilon")
        within(Decimal(0), MOST_PURE_EPSILON, epsilon=number)
        if number == 0:
            raise InvalidError("`epsilon` must be above 0", field="epsilon")


@dataclass(frozen=True, kw_only=True)
class ZeroConcentrated(MechanismUse):
    """Runs of any mechanism that is rho-zCDP: several parts of different kinds, for one, whose rho add up.

    Attributes:
        rho: At every order a > 1 the divergence of one run is at most a times as much.
        count: How many runs.
    """

    TAG = "zcdp"
    TIMES = "count"
    rho: Parameter
    count: int

    def __post_init__(self) -> None:
        super().__post_init__()
        number = _number(self.rho, "rho")
        within(Decimal(0), MOST_RHO, rho=number)
        if number == 0:
            raise InvalidError("`rho` must be above 0", field="rho")


@dataclass(frozen=True, kw_only=True)
class PrivateSelection(MechanismUse):
    """Selections of the best of several independent tries; neither the others nor their number is told.

    Attributes:
        base: One try, once through.
        tries: The distribution from which the number of tries is drawn.
        count: How many selections; each draws anew.
    """

    TAG = "private-selection"
    TIMES = "count"
    base: MechanismUse
    tries: Tries
    count: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.base, MechanismUse) or isinstance(self.base, PrivateSelection):
            raise InvalidError("`base` must be the mechanism of one try, and no selection itself", field="base")
        if not isinstance(self.tries, Tries):
            raise InvalidError("`tries` must be a distribution", field="tries")

    @property
    def runs(self) -> int:
        """All tries that there may be, each as often as it runs its mechanism."""
        return self.count * self.tries.most * self.base.times


def has_loss_distribution(use: MechanismUse) -> bool:
    """Whether the distribution of its privacy losses is known: of the others bounds alone are."""
    return not isinstance(use, PrivateSelection | ZeroConcentrated)


def of_one_try(use: MechanismUse) -> MechanismUse:
    """What ran each time: the mechanism of one try if the use is a selection, else the use itself."""
    return use.base if isinstance(use, PrivateSelection) else use


_BY_TAG: dict[str, type[MechanismUse]] = {
    kind.TAG: kind for kind in (PoissonSampledGaussian, Gaussian, PureDp, ZeroConcentrated, PrivateSelection)
}


def _number(value: Parameter, field: str) -> Decimal:
    if not isinstance(value, Parameter):
        raise InvalidError(f"`{field}` must be an exact parameter", field=field)
    return value.number

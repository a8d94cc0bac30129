"""The plan and course of a federated model with noise: the measurements of `privacy.glm`, each summed over sites. Pure.

Rules
-----
1. Measurements, bounds, shares of the price and table are those of an ordinary GLM job: step t sums scores and
   curvature at coefficients that follow from the noisy sums so far. Only the noise comes from the sites.
2. Every round has a fixed number of numbers, that of the longest; what a step does not use is zero.
3. The sites see all noisy sums so far: they are outputs, and priced. All together cost one Gaussian of multiplier z.
4. The table's errors are those of the noise that was really added, z sqrt(K / (K - c)), or z sqrt(2) where gateway and
   key holder add it, rounded up.

Form: docs/formats/he-glm.md, "With noise".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final, Self, TypeAlias

from kernel import canonical
from kernel.canonical import LARGEST_INTEGER
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError
from kernel.events import Parameter
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.glm.design import Design, design_of
from privacy.glm.families import Family
from privacy.glm.inference import CONFIDENCE, Coefficient, coefficients_of
from privacy.glm.readings import Readings
from privacy.glm.schedule import GRID, STEPS, Measurement, schedule
from privacy.homomorphic.glm.report import line_json
from privacy.homomorphic.glm.table import Line
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import SAYS, Addition, SiteNoise
from privacy.homomorphic.profiles import Profile
from privacy.jobs.features import FeatureSpec
from privacy.jobs.glm_plan import multipliers_of
from privacy.jobs.glm_spec import Counted
from privacy.jobs.strict import members_of, one_of
from privacy.schema import TableSchema
from privacy.units import LARGEST_ROWS_PER_UNIT

FORMAT = "privgate/he-glm-noised/v1"
LIMIT = 2**20
MOST_UNITS: Final = 2**20
_UP = Context(prec=34, rounding=ROUND_CEILING)
_CENT = Decimal("0.01")
_MEMBERS: Final = ("family", "features", "counted", "rows_per_unit", "noise", "schema")
Sums: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisedGlm:
    """A federated model with noise of the sites.

    Attributes:
        family: Which model.
        features: Predictors and outcome, the same at every site.
        schema: Their declared columns, the same at every site.
        counted: Whether every person counts the same, or every row.
        rows_per_unit: The most rows of one person that count.
        noise: What the sites add.
        design: What follows from family, features and schema.
    """

    family: Family
    features: FeatureSpec
    schema: TableSchema
    noise: SiteNoise
    counted: Counted = Counted.UNIT
    rows_per_unit: int = 1
    design: Design = field(init=False)

    def __post_init__(self) -> None:
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        object.__setattr__(self, "design", design_of(self.family, self.features, self.schema))

    @property
    def rounds(self) -> int:
        """How many rounds there are, always."""
        return STEPS[self.family] + 1

    def measurements(self, step: int) -> list[Measurement]:
        """What is summed in a step, from 0: round step + 1."""
        return [one for one in schedule(self.design) if one.step == step]

    @property
    def values(self) -> int:
        """How many numbers a site gives in every round."""
        return max(sum(one.size for one in self.measurements(step)) for step in range(self.rounds))

    def multiplier(self, measurement: Measurement) -> Parameter:
        """A measurement's own noise multiplier, as priced."""
        return multipliers_of(self.design, self.noise.noise_multiplier)[measurement.name]

    def deviation(self, measurement: Measurement) -> Parameter:
        """The priced deviation of the noise on each of its numbers, in whole units."""
        return Parameter(_UP.multiply(self.multiplier(measurement).number, Decimal(GRID)))

    def additions(self, number: int) -> tuple[Addition, ...]:
        """Which noise the numbers of a round get: of its step's measurements; what it does not use stays zero."""
        return tuple(
            Addition(count=one.size, deviation=self.deviation(one), bound=MOST_UNITS * GRID)
            for one in self.measurements(number - 1)
        )

    def layout(self, profile: Profile, sites: int) -> Layout:
        """Where a site's numbers lie; raise `InvalidError` if the profile cannot add so many sites' sums."""
        tail = max(self.noise.tail(self.deviation(one)) for one in schedule(self.design))
        return Layout(profile=profile, values=self.values, bound=MOST_UNITS * GRID, summands=sites, tail=tail)

    def uses(self) -> tuple[MechanismUse, ...]:
        """What is priced."""
        return (Gaussian(noise_multiplier=self.noise.noise_multiplier, count=1),)

    def to_json(self) -> dict[str, Any]:
        """What every party computes by."""
        return {
            "counted": self.counted.value,
            "family": self.family.value,
            "features": self.features.to_json(),
            "noise": self.noise.to_json(),
            "rows_per_unit": self.rows_per_unit,
            "schema": self.schema.to_json(),
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = members_of(body, "plan", _MEMBERS)
        return cls(
            family=one_of(Family, members["family"], "family"),
            features=FeatureSpec.from_json(members["features"]),
            schema=TableSchema.from_json(members["schema"]),
            noise=SiteNoise.from_json(members["noise"]),
            counted=one_of(Counted, members["counted"], "counted"),
            rows_per_unit=members["rows_per_unit"],
        )


def asked_json(sums: Sums) -> dict[str, Any]:
    """What the sites need for the next round: the `state` of a round document, all noisy sums so far."""
    return {"sums": {name: list(numbers) for name, numbers in sums.items()}}


def asked_sums(plan: NoisedGlm, body: Any) -> Sums:
    """Read what `asked_json` writes: the sums of the first steps, whole; raise `InvalidError` otherwise."""
    written = members_of(body, "state", ("sums",))["sums"]
    if not isinstance(written, Mapping):
        raise InvalidError("`sums` has the noisy sums so far, by name", field="sums")
    step = step_of(plan, written)
    wanted = {one.name: one.size for before in range(step) for one in plan.measurements(before)}
    found = {}
    for name, size in wanted.items():
        numbers = written[name]
        if not isinstance(numbers, (list, tuple)) or len(numbers) != size:
            raise InvalidError("a measurement has another number of sums than its design gives", field="sums")
        found[name] = tuple(whole(-LARGEST_INTEGER, LARGEST_INTEGER, sums=number) for number in numbers)
    return found


def step_of(plan: NoisedGlm, sums: Mapping[str, Any]) -> int:
    """Which step comes next; raise `InvalidError` unless the sums are those of all steps before it."""
    before: set[str] = set()
    for step in range(plan.rounds + 1):
        if before == set(sums):
            return step
        before |= {one.name for one in plan.measurements(step)}
    raise InvalidError("`sums` has the sums of the first steps, all of them and no others", field="sums")


def advance(plan: NoisedGlm, so_far: Sums, numbers: Sequence[int]) -> Sums:
    """The noisy sums, this round's included.

    Raises:
        CorruptError: Numbers that no sites can have given.
    """
    step, place = step_of(plan, so_far), 0
    if step == plan.rounds or len(numbers) != plan.values:
        raise CorruptError("the decrypted sums are not those of a round")
    found = dict(so_far)
    for one in plan.measurements(step):
        kept = (max(-LARGEST_INTEGER, min(LARGEST_INTEGER, n)) for n in numbers[place : place + one.size])
        found[one.name] = tuple(kept)
        place += one.size
    if any(numbers[place:]):
        raise CorruptError("the decrypted sums are not those of a round")
    return found


def is_whole(plan: NoisedGlm, sums: Sums) -> bool:
    """Whether all rounds were made."""
    return step_of(plan, sums) == plan.rounds


def noised_glm_bytes(plan: NoisedGlm, sums: Sums, sites: int) -> bytes:
    """The released file.

    Args:
        plan: The model.
        sums: Of all rounds.
        sites: How many sites were added in each: all of them, or the table's errors would be too large.
    """
    whole(plan.noise.sites, plan.noise.sites, sites=sites)
    readings = readings_of(plan, sums)
    table = coefficients_of(plan.design, readings.steps(STEPS[plan.family]))
    each = plan.rows_per_unit if plan.counted is Counted.ROW else 1
    return canonical.encode(
        {
            "v": 1,
            "format": FORMAT,
            "privacy": SAYS[plan.noise.by],
            "plan": plan.to_json(),
            "sites": sites,
            "sums": {name: list(numbers) for name, numbers in sums.items()},
            "confidence": str(CONFIDENCE),
            "count": round(each * math.fsum(readings.outcomes)),
            "table": None if table is None else [_line_json(plan.family, line) for line in table],
        }
    )


def readings_of(plan: NoisedGlm, sums: Sums) -> Readings:
    """The noisy sums so far, as sites and readers alike must read them: by the noise that all sites added."""
    multipliers = {
        name: float(value.number) for name, value in multipliers_of(plan.design, added_multiplier(plan)).items()
    }
    return Readings(design=plan.design, multipliers=multipliers, numbers=sums)


def _line_json(family: Family, line: Coefficient) -> dict[str, Any]:
    low, high = line.interval
    written = line_json(
        family,
        Line(term=line.name, value=line.value, error=line.error, low=low, high=high, p_value=line.p_value),
    )
    return written | {"noise_share": format(Decimal(line.noise_share).quantize(_CENT), "f")}


def read_noised_glm(data: bytes) -> dict[str, Any]:
    """Read a released file and work its table out again; raise `InvalidError` if it differs."""
    needed = ("v", "format", "privacy", "plan", "sites", "sums", "confidence", "count", "table")
    body = members_of(canonical.decode(data, limit=LIMIT, canonical=True), "glm", needed)
    plan = NoisedGlm.from_json(body["plan"])
    sums = asked_sums(plan, {"sums": body["sums"]})
    if not is_whole(plan, sums):
        raise InvalidError("`sums` has the sums of all steps", field="sums")
    try:
        again = noised_glm_bytes(plan, sums, body["sites"])
    except (ArithmeticError, ValueError):
        raise InvalidError("these sums cannot be computed with", field="sums") from None
    if again != data:
        raise InvalidError("the table does not follow from the plan and the sums")
    return dict(body)


def added_multiplier(plan: NoisedGlm) -> Parameter:
    """The multiplier of all the noise that was added together."""
    excess = plan.noise.excess()
    share = _UP.sqrt(_UP.divide(Decimal(excess.numerator), Decimal(excess.denominator)))
    return Parameter(_UP.quantize(_UP.multiply(plan.noise.noise_multiplier.number, share), NOISE_QUANTUM))

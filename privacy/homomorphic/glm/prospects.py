"""Whether a model with noise of the sites can have a table, in a word: the rule of ordinary models, by all noise added.

It looks at the plan and at declared sizes, and so tells nothing of rows (`privacy.jobs.feasibility`).
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.events import Parameter
from privacy.glm.families import Family
from privacy.homomorphic.glm.noised import NoisedGlm, added_multiplier
from privacy.jobs.feasibility import Feasibility, glm_word
from privacy.jobs.glm_spec import Counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A model as the rule looks at it, with the noise that all sites really add."""

    family: Family
    terms: int
    counted: Counted
    rows_per_unit: int
    noise_multiplier: Parameter


def prospect_of(plan: NoisedGlm, units: int) -> Feasibility:
    """The word for a model of about so many units at all sites, as declared."""
    added = Added(
        family=plan.family,
        terms=len(plan.design.terms),
        counted=plan.counted,
        rows_per_unit=plan.rows_per_unit,
        noise_multiplier=added_multiplier(plan),
    )
    return glm_word(added, units)

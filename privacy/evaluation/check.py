"""An evaluation against its certificate: what a verifier demands of the two together. Pure, standard library only.

Rules
-----
1. Every figure follows from the file's own numbers.
2. The noise that the file states is the noise that was charged: multiplier x rows per unit x what one row adds, vector
   by vector, in the order of the certificate's mechanisms.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, Context, Decimal

from privacy.accounting.mechanisms import Gaussian
from privacy.evaluation.report import read_evaluation
from privacy.jobs.evaluation_measures import sensitivity
from privacy.release.certificate import Predicate

_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)


def evaluation_problems(predicate: Predicate, data: bytes) -> Iterator[str]:
    """Every problem of a released evaluation beside its certificate; `PrivgateError` if it is none."""
    design, _ = read_evaluation(data)
    if design.release != predicate.model.release:
        yield "it is about another model than the certificate names"
    if design.rows_per_unit != predicate.population.rows_per_unit:
        yield "its rows per unit are not those of the certificate"
    uses = [part.mechanism for part in predicate.mechanisms]
    if len(uses) != len(design.vectors):
        yield "it has more or fewer measures than were charged"
        return
    for vector, use in zip(design.vectors, uses, strict=True):
        bound = Decimal(design.rows_per_unit * sensitivity(vector.part, design.target))
        charged = _ROUND_UP.multiply(use.noise_multiplier.number, bound) if isinstance(use, Gaussian) else None
        if charged != vector.noise.number:
            yield f"the noise of its measure `{vector.part}` is not the noise that was charged"

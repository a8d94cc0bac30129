"""Whether an order is what its request asks for: anybody works it out again from what owners approved by its digest.

Rules
-----
1. The request's digest, kind, datasets, key holder, outcome, profile and times stand in the order as they were asked.
2. The plan is what request and columns give, with no less noise than the request asks for. Its rounds, what the sites
   weigh and how many may be missing are the order's as well.
3. Pure: agents ask before they act, and an auditor asks afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel.canonical import digest_of
from kernel.errors import PrivgateError
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.requests.spec import CollectionSpec
from privacy.schema import TableSchema


def is_as_asked(order: Order) -> bool:
    """Whether `spec` has the digest that was approved, and the order says what it says."""
    said = {
        "kind": order.kind,
        "datasets": [str(site.dataset) for site in order.sites],
        "key_holder": str(order.key_holder.party),
        "result": order.outcome.value,
        "profile": order.profile,
        "round_seconds": order.round_seconds,
    }
    spec = order.spec
    return digest_of("job-request/v1", spec) == order.spec_digest and all(spec.get(name) == said[name] for name in said)


def plan_follows(order: Order) -> bool:
    """Whether plan and order are what request and columns give, with no less noise than the request asks for."""
    try:
        spec = CollectionSpec.from_json(order.spec)
        plan = spec.plan(TableSchema.from_json(order.plan["schema"]), order.plan.get("rows_per_unit", 1))
    except (PrivgateError, KeyError, TypeError):
        return False
    asked, wanted = spec.question, plan.to_json()
    said = (
        {site.least_persons for site in order.sites},
        tuple(site.weight for site in order.sites),
        order.dropouts,
        order.rounds_at_most,
    )
    if plan.noise is not None and _as_noisy(plan.noise, order.plan.get("noise")):
        wanted["noise"] = order.plan["noise"]
    meant = ({spec.least_persons}, asked.weights_of(len(order.sites)), asked.missing, plan.rounds)
    return wanted == order.plan and said == meant


def _as_noisy(asked: SiteNoise, written: Any) -> bool:
    """Whether noise as an order writes it is at least what is asked for."""
    try:
        stated = SiteNoise.from_json(written)
    except PrivgateError:
        return False
    same = replace(stated, noise_multiplier=asked.noise_multiplier) == asked
    return same and stated.noise_multiplier.number >= asked.noise_multiplier.number

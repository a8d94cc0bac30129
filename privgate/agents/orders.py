"""Whether an order is one that this agent may act upon: signed by the pinned gateway, for us, by people whom we pinned.

Rules
-----
1. Checked in this order: who signed, whether it is for us as we are, who else is in it, how it encrypts, our rules, and
   whether it is what the request asks for that people approved.
2. That people approved the request is the gateway's word; where the rules say so, this agent's people allow it as well,
   by its digest, and the order waits for them. A yes is good for one job: the order that is accepted first uses it up,
   in the log, so that the gateway cannot order again what was allowed once.
3. The key holder acts only for sites that it pinned, every one; a site for a key holder that it pinned, and for other
   sites as its own rules say.
"""

from __future__ import annotations

from typing import Any

from kernel.canonical import digest_of
from kernel.errors import PrivgateError, UnavailableError
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.parties import PartyKind, SiteMember
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.spec import CollectionSpec
from privacy.schema import TableSchema
from privgate.agents.home import Home
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.rules import Partners, Requests

_WORKED_OUT = frozenset({"he.statistics"})
"""Kinds whose requests say how much noise there is to be: from epsilon and delta that their owners approved."""


def accepted(home: Home, data: bytes) -> Order:
    """Return the order if this agent may act upon it.

    Raises:
        RefusalError: It may not; the reason says why.
        UnavailableError: It waits for this agent's own people.
    """
    try:
        gateway = home.gateway
        order = Order.opened(data, gateway.certificate_keys)
    except PrivgateError as error:
        raise RefusalError(Why.ANOTHER_ORDER, error.message) from None
    if order.gateway != gateway.origin:
        raise RefusalError(Why.ANOTHER_ORDER, "`gateway`")
    if home.who.kind is PartyKind.KEYHOLDER:
        _as_key_holder(home, order)
    else:
        _as_site(home, order)
    profile_for(order)
    home.rules.require(order)
    _require_asked(order)
    if home.rules.requests is Requests.ALLOWED and not home.allows(order.spec_digest, _turn(home, order)):
        raise UnavailableError(
            f"this {order.kind} waits until its request is allowed here: `allow {order.spec_digest}`"
        )
    return order


def _turn(home: Home, order: Order) -> int:
    """The how-manieth order for its request this one is, or would be."""
    history = home.log.history
    return history.of(order.job).turn or history.asked.get(order.spec_digest, 0) + 1


def _require_asked(order: Order) -> None:
    """Return if the order is what its request asks for: that is what owners approved, by its digest.

    Raises:
        RefusalError: Another digest, other sites, another profile, or a plan that does not follow from the request.
    """
    spec = order.spec
    said = {
        "kind": order.kind,
        "datasets": [str(site.dataset) for site in order.sites],
        "key_holder": str(order.key_holder.party),
        "result": order.outcome.value,
        "profile": order.profile,
        "round_seconds": order.round_seconds,
    }
    if digest_of("job-request/v1", spec) != order.spec_digest or any(spec.get(name) != said[name] for name in said):
        raise RefusalError(Why.ANOTHER_ORDER, "`spec`")
    if (order.outcome is Outcome.EXACT or spec.get("kind") in _WORKED_OUT) and not _follows(order):
        raise RefusalError(Why.RULES, "`plan` does not follow from `spec`")


def _follows(order: Order) -> bool:
    """Whether the plan is what request and columns give, with no less noise than the request asks for."""
    try:
        spec = CollectionSpec.from_json(order.spec)
        plan = spec.plan(TableSchema.from_json(order.plan["schema"]), order.plan.get("rows_per_unit", 1))
    except (PrivgateError, KeyError, TypeError):
        return False
    least = {site.least_persons for site in order.sites} == {spec.least_persons}
    wanted = plan.to_json()
    if plan.noise is not None and _as_noisy(plan.noise, order.plan.get("noise")):
        wanted["noise"] = order.plan["noise"]
    return least and wanted == order.plan and spec.question.most_rounds == order.rounds_at_most


def _as_noisy(asked: SiteNoise, written: Any) -> bool:
    """Whether noise as an order writes it is at least what is asked for."""
    try:
        stated = SiteNoise.from_json(written)
    except PrivgateError:
        return False
    same = (stated.sites, stated.tolerated) == (asked.sites, asked.tolerated)
    return same and stated.noise_multiplier.number >= asked.noise_multiplier.number


def profile_for(order: Order) -> Profile:
    """The profile of an order, if it is the one of that name."""
    try:
        profile = profile_of(order.profile)
    except PrivgateError:
        raise RefusalError(Why.PROFILE, "no such name") from None
    if profile.digest != order.profile_digest:
        raise RefusalError(Why.PROFILE, "another digest")
    return profile


def own_place(home: Home, order: Order) -> SiteMember:
    """Where this site stands in an order."""
    site = order.site(home.enrolment.party)
    if site is None or site.who != home.who:
        raise RefusalError(Why.NOT_OURS)
    return site


def _as_key_holder(home: Home, order: Order) -> None:
    holder = order.key_holder
    if holder.party != home.enrolment.party or holder.who != home.who:
        raise RefusalError(Why.NOT_OURS)
    pins = home.pins()
    if not all(site.who in pins for site in order.sites):
        raise RefusalError(Why.UNPINNED, "a site")


def _as_site(home: Home, order: Order) -> None:
    own = own_place(home, order)
    pins = home.pins()
    if order.key_holder.who not in pins:
        raise RefusalError(Why.UNPINNED, "the key holder")
    others = [site.who for site in order.sites if site is not own]
    if home.rules.partners is Partners.PINNED and not set(others) <= pins:
        raise RefusalError(Why.UNPINNED, "another site")

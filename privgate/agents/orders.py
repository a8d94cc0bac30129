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

from kernel.errors import PrivgateError, UnavailableError
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.parties import PartyKind, SiteMember
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.following import is_as_asked, plan_follows
from privgate.agents.home import Home
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.rules import Partners, Requests


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
    if not is_as_asked(order):
        raise RefusalError(Why.ANOTHER_ORDER, "`spec`")
    if not plan_follows(order):
        raise RefusalError(Why.RULES, "`plan` does not follow from `spec`")


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

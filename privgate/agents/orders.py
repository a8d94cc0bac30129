"""Whether an order is one that this agent may act upon: signed by the pinned gateway, for us, by people whom we pinned.

Rules
-----
1. Checked in this order: who signed, whether it is for us as we are, who else is in it, how it encrypts, our rules.
2. The key holder acts only for sites that it pinned, every one; a site for a key holder that it pinned, and for other
   sites as its own rules say.
"""

from __future__ import annotations

from kernel.errors import PrivgateError
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.parties import PartyKind, SiteMember
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of
from privgate.agents.home import Home
from privgate.agents.refusing import RefusalError, Why
from privgate.agents.rules import Partners


def accepted(home: Home, data: bytes) -> Order:
    """Return the order if this agent may act upon it.

    Raises:
        RefusalError: It may not; the reason says why.
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
    return order


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

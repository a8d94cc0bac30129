"""Whether an order for blind training is one that this site may act upon, and telling such an order apart.

Rules
-----
1. Signed by the pinned gateway, for this site as it is, under the one profile there is, of a kind that this site's
   rules have.
2. The plan is what request and declared columns give: a gateway cannot ask for other rows, epochs or terms than were
   approved by their digest.
3. Each order is allowed here first, whatever the rules say of other kinds: whether a training is declined, and whether
   its model is the right one, are bits about the rows. A gateway that could order by itself would ask for as many as it
   likes, and there is no noise and no price.
"""

from __future__ import annotations

from kernel.canonical import digest_of
from kernel.errors import PrivgateError, UnavailableError
from kernel.signing import Envelope
from privacy.homomorphic.blind.documents import BlindOrder
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.blind.spec import BlindSpec
from privacy.schema import TableSchema
from privgate.agents.home import Home
from privgate.agents.refusing import RefusalError, Why


def is_blind_order(data: bytes) -> bool:
    """Whether bytes say of themselves that they are one; what they are worth, opening them shows."""
    try:
        return Envelope.from_bytes(data).payload_type == BlindOrder.TYPE
    except PrivgateError:
        return False


def accepted_blind(home: Home, data: bytes) -> BlindOrder:
    """Return the order if this site may act upon it.

    Raises:
        RefusalError: It may not; the reason says why.
        UnavailableError: It waits for this site's own people.
    """
    try:
        gateway = home.gateway
        order = BlindOrder.opened(data, gateway.certificate_keys)
    except PrivgateError as error:
        raise RefusalError(Why.ANOTHER_ORDER, error.message) from None
    if order.gateway != gateway.origin:
        raise RefusalError(Why.ANOTHER_ORDER, "`gateway`")
    if (order.site.party, order.site.who) != (home.enrolment.party, home.who):
        raise RefusalError(Why.NOT_OURS)
    if (order.profile, order.profile_digest) != (PROFILE.name, PROFILE.digest):
        raise RefusalError(Why.PROFILE)
    home.rules.require_blind()
    _require_asked(order)
    history = home.log.history
    turn = history.of(order.job).turn or history.asked.get(order.spec_digest, 0) + 1
    if not home.allows(order.spec_digest, turn):
        raise UnavailableError(
            f"this blind training waits until its request is allowed here: `allow {order.spec_digest}`"
        )
    return order


def _require_asked(order: BlindOrder) -> None:
    """Return if the order is what its request asks for."""
    try:
        spec = BlindSpec.from_json(order.spec)
        plan = spec.plan(TableSchema.from_json(order.plan["schema"])).to_json()
    except (PrivgateError, KeyError, TypeError):
        raise RefusalError(Why.ANOTHER_ORDER, "`spec`") from None
    said = (digest_of("job-request/v1", order.spec), spec.dataset, spec.round_seconds)
    if said != (order.spec_digest, order.dataset, order.round_seconds):
        raise RefusalError(Why.ANOTHER_ORDER, "`spec`")
    if plan != order.plan:
        raise RefusalError(Why.RULES, "`plan` does not follow from `spec`")

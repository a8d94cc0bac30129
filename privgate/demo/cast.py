"""Who takes part, and how the administrator lets them in."""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.trust import TrustFile
from privgate.demo.processes import LocalGateway
from privgate.demo.screen import Screen
from privgate.sdk import Gateway, connect

PURPOSE = "research/demo"
OTHER_PURPOSE = "marketing"
SENSITIVITY = "confidential"
ROLES = {
    "owner": ("owner",),
    "trainer": ("trainer",),
    "newcomer": ("trainer",),
    "door-keeper": ("checker",),
    "auditor": ("auditor",),
}
"""Whom the administrator enrols, with their roles; the newcomer never gets a grant."""


@dataclass(slots=True)
class Person:
    """Somebody with an access token, at a machine of their own."""

    principal: str
    gateway: Gateway


@dataclass(slots=True)
class Cast:
    """The people of the demo.

    Attributes:
        trust: What auditor and trainer pinned at enrolment, before anything had happened.
    """

    admin: Gateway
    trust: TrustFile
    people: dict[str, Person] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def close(self) -> None:
        """Let all connections go."""
        for person in self.people.values():
            person.gateway.close()
        self.admin.close()


def enrol(local: LocalGateway, screen: Screen, ceiling: str) -> Cast:
    """Let everybody in, define the purposes, set the tenant's policy.

    Args:
        local: The running gateway.
        screen: Where it is told.
        ceiling: Up to which epsilon a release may leave by policy alone, if its grant agrees.
    """
    url, authority = local.url, local.authority
    admin = connect(url=url, token=local.admin_token, authority=authority)
    screen.act("The administrator", "lets people in and sets the rules of the house")
    admin.define_purpose("research")
    admin.define_purpose(PURPOSE, within=["research"])
    admin.define_purpose(OTHER_PURPOSE)
    admin.set_policy(
        {
            "approvals": [],
            "ceilings": [{"sensitivity": SENSITIVITY, "epsilon": ceiling}],
            "checked_by": ["checker"],
        }
    )
    trust = admin.trust()
    cast = Cast(admin, trust)
    for name, roles in ROLES.items():
        token = admin.enrol(name, *roles)
        gateway = connect(url=url, token=token.token, authority=authority, trust=trust)
        cast.people[name] = Person(token.principal, gateway)
    screen.did("five people enrolled", ", ".join(ROLES))
    screen.did("policy set", f"a door-keeper looks at what leaves, unless a grant lets up to epsilon {ceiling} go")
    screen.did("auditor and trainer pinned the trust file", f"log {trust.origin}")
    return cast

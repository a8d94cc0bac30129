"""Enrolling an agent: its owner, who is signed in, shows the gateway its identity and asks for a certificate.

Rules
-----
1. The authority of the listener for parties is the one that was pinned when the owner signed in.
2. What comes back is for reaching the gateway; nothing of it is believed.
"""

from __future__ import annotations

from kernel.errors import InvalidError, UnavailableError
from kernel.ids import PartyId
from privgate.agents.home import Enrolment, Home
from privgate.agents.requesting import certificate_request
from privgate.client import profiles
from privgate.client.http import Connection


def enrol(home: Home, url: str, profile: str) -> PartyId:
    """Enrol and keep what came back; return the gateway's number for the agent.

    Args:
        home: The agent's.
        url: Where the gateway listens for parties.
        profile: The owner's sign-in.
    """
    if not url.startswith("https://"):
        raise InvalidError("`url` must begin with https://", field="url")
    owner = profiles.load(profile)
    if owner.authority is None:
        raise InvalidError("sign in with `--ca`: an agent pins the authority of the listener for parties", field="ca")
    request = certificate_request(home.tls_key, home.who.name)
    with Connection(owner) as connection:
        answer = connection.post("/v1/parties", {"identity": home.who.to_json(), "request": request})
    try:
        given = Enrolment(
            party=PartyId(answer["party"]), url=url, authority=owner.authority, certificate=answer["certificate"]
        )
    except (KeyError, TypeError):
        raise UnavailableError("the gateway's answer has no certificate") from None
    home.enrol(given)
    return given.party

"""Who is at the other end: the client's certificate, from the handshake to the routes.

The server does not hand a connection's certificate to the app. This protocol does, and nothing else differs.

Rules
-----
1. The certificate is what TLS verified; no header says who somebody is.
2. A party is looked up anew for each request: one that was disabled gets no further. A certificate that waited to
   take another's place takes it with its first request.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Depends, Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.deps import state_of
from gateway.collection_records import PartyRecord
from gateway.services.collections.parties import prove_party
from gateway.services.collections.renewing import take_up
from kernel.canonical import Digest
from kernel.errors import UnauthenticatedError

PEER = "privgate.peer"
"""The member of a request's scope that holds the certificate's digest."""


class PeerProtocol(HttpToolsProtocol):
    """HTTP over a connection whose client has a certificate."""

    _peer: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base class has it
        """Remember whose connection it is."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        self._peer = None if certificate is None else str(Digest.of(certificate))

    def on_message_begin(self) -> None:
        """Put it into the request's scope."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # the server's own type has no room for more
        scope[PEER] = self._peer


async def get_party(request: Request) -> PartyRecord:
    """The party whose connection it is."""
    written = request.scope.get(PEER)
    if not isinstance(written, str):
        raise UnauthenticatedError("this connection has no client certificate")
    state, certificate = state_of(request), Digest(written)
    party = await state.reads(prove_party, state.on, certificate)
    if party.certificate != certificate:
        await state.writes(take_up, state.on, party, certificate)
    return party


CurrentParty = Annotated[PartyRecord, Depends(get_party)]

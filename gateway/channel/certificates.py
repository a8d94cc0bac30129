"""Route for parties: another certificate for their connections."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gateway.api.answers import granted
from gateway.api.deps import State
from gateway.channel.bodies import bytes_of
from gateway.channel.peer import CurrentParty
from gateway.services.collections.renewing import renew_own
from privacy.homomorphic.documents.places import CERTIFICATE
from privacy.homomorphic.documents.renewal import RENEWAL_LIMIT

router = APIRouter()


@router.post(CERTIFICATE)
async def post_renewal(request: Request, party: CurrentParty, state: State) -> Response:
    """A party renews: its identity signs for a new key, over a connection of the present one."""
    content = await bytes_of(request, RENEWAL_LIMIT)
    pem = granted(await state.writes(renew_own, state.on, party, content))
    return JSONResponse({"certificate": pem})

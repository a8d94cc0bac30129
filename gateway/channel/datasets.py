"""Route for sites: which rows they will compute on."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gateway.api.answers import granted
from gateway.api.bodies import DatasetRef
from gateway.api.deps import State
from gateway.channel.bodies import bytes_of
from gateway.channel.peer import CurrentParty
from gateway.services.collections.attesting import ATTESTATION_LIMIT, attest
from kernel.ids import DatasetId
from privacy.homomorphic.documents.places import DATASETS

router = APIRouter()


@router.put(f"{DATASETS}/{{dataset}}/attestation")
async def put_attestation(dataset: DatasetRef, request: Request, party: CurrentParty, state: State) -> Response:
    """A site's signed word about its rows. They stay where they are."""
    content = await bytes_of(request, ATTESTATION_LIMIT)
    version = granted(await state.writes(attest, state.on, party, DatasetId(dataset), content))
    return JSONResponse({"version": str(version.id)}, status_code=201)

"""Routes for parties: the jobs they have a part in, and the documents of these jobs, each in its place.

Form: docs/formats/he-documents.md, "Places".
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response

from gateway.api.bodies import JobRef, PartyRef
from gateway.api.deps import State
from gateway.channel.bodies import bytes_of
from gateway.channel.peer import CurrentParty
from gateway.collection_records import PartyRecord
from gateway.services.collections.carrying import fetch_document, limit_of, put_document, work_of
from kernel.ids import JobId, PartyId
from privacy.homomorphic.documents.order import MOST_ROUNDS
from privacy.homomorphic.documents.places import ROOT, WORK, Place
from privacy.homomorphic.documents.signed import DocumentKind

router = APIRouter()
RoundNumber = Annotated[int, Path(ge=1, le=MOST_ROUNDS)]
OfAJob = Annotated[str, Path(pattern="^(order|key|data|final)$")]
OfARound = Annotated[str, Path(pattern="^(round|sum|result|weights|gradient)$")]
_JOB = f"{ROOT}/jobs/{{job}}"
_ROUND = f"{_JOB}/rounds/{{number}}"
_UPLOAD = f"{_ROUND}/uploads/{{of}}"
_HEADER = f"{_ROUND}/headers/{{of}}"
_REFUSAL = f"{_JOB}/refusals/{{of}}"


@router.get(WORK)
async def read_work(party: CurrentParty, state: State) -> JSONResponse:
    """The jobs of this party that are being collected."""
    jobs = await state.reads(work_of, state.on, party)
    return JSONResponse({"jobs": [str(job) for job in jobs]})


@router.get(f"{_JOB}/{{kind}}")
async def read_of_job(job: JobRef, kind: OfAJob, party: CurrentParty, state: State) -> Response:
    """Order, key, data or final."""
    return await _read(state, party, Place(JobId(job), DocumentKind(kind)))


@router.put(f"{_JOB}/{{kind}}")
async def put_of_job(job: JobRef, kind: OfAJob, request: Request, party: CurrentParty, state: State) -> Response:
    """A key holder's key, a site's data of blind training, or the last document."""
    return await _put(state, party, Place(JobId(job), DocumentKind(kind)), request)


@router.get(f"{_ROUND}/{{kind}}")
async def read_of_round(
    job: JobRef, number: RoundNumber, kind: OfARound, party: CurrentParty, state: State
) -> Response:
    """A round, its sum where the gateway adds, or what its decryption was of; or what an epoch has."""
    return await _read(state, party, Place(JobId(job), DocumentKind(kind), number))


@router.put(f"{_ROUND}/{{kind}}")
async def put_of_round(
    job: JobRef, number: RoundNumber, kind: OfARound, request: Request, party: CurrentParty, state: State
) -> Response:
    """The key holder opens a round, or closes it; a site sends an epoch's weights. Sums and gradients are nobody's."""
    return await _put(state, party, Place(JobId(job), DocumentKind(kind), number), request)


@router.get(_UPLOAD)
async def read_upload(job: JobRef, number: RoundNumber, of: PartyRef, party: CurrentParty, state: State) -> Response:
    """A site's encrypted sums: for the key holder, and for that site."""
    return await _read(state, party, Place(JobId(job), DocumentKind.UPLOAD, number, PartyId(of)))


@router.put(_UPLOAD)
async def put_upload(
    job: JobRef, number: RoundNumber, of: PartyRef, request: Request, party: CurrentParty, state: State
) -> Response:
    """A site sends its encrypted sums."""
    return await _put(state, party, Place(JobId(job), DocumentKind.UPLOAD, number, PartyId(of)), request)


@router.get(_HEADER)
async def read_header(job: JobRef, number: RoundNumber, of: PartyRef, party: CurrentParty, state: State) -> Response:
    """What a site signed over its encrypted sums, without them: for the key holder, where the gateway adds."""
    return await _read(state, party, Place(JobId(job), DocumentKind.HEADER, number, PartyId(of)))


@router.get(_REFUSAL)
async def read_refusal(job: JobRef, of: PartyRef, party: CurrentParty, state: State) -> Response:
    """That a party does not go on."""
    return await _read(state, party, Place(JobId(job), DocumentKind.REFUSAL, party=PartyId(of)))


@router.put(_REFUSAL)
async def put_refusal(job: JobRef, of: PartyRef, request: Request, party: CurrentParty, state: State) -> Response:
    """A party does not go on; the job ends."""
    return await _put(state, party, Place(JobId(job), DocumentKind.REFUSAL, party=PartyId(of)), request)


async def _read(state: State, party: PartyRecord, place: Place) -> Response:
    content = await state.reads(fetch_document, state.on, party, place)
    return Response(content, media_type="application/octet-stream")


async def _put(state: State, party: PartyRecord, place: Place, request: Request) -> Response:
    content = await bytes_of(request, limit_of(place.kind))
    record = await state.writes(put_document, state.on, party, place, content)
    return JSONResponse({"digest": str(record.digest)}, status_code=201)

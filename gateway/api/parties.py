"""Routes: the agents of sites and key holders, as their owners enrol them. What agents ask for is `gateway.channel`."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, once, shown
from gateway.api.bodies import EnrolParty, PartyRef, RenewParty
from gateway.api.deps import CurrentCaller, CurrentReader, Key, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import CertificateView, PartyView
from gateway.collection_records import PartyRecord
from gateway.services.collections import parties, renewing
from gateway.services.collections.parties import EnrolledParty
from kernel.clock import format_time
from kernel.ids import PartyId
from policies.vocabulary import Action

router = APIRouter(prefix="/v1/parties", tags=["parties"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)


@router.post("", operation_id="enrolParty", status_code=201, response_model=PartyView)
async def enrol_party(body: EnrolParty, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Enrol the agent of a site or a key holder. It gets a certificate for its connections."""
    request = {"route": "enrolParty", "body": body.model_dump(mode="json")}

    def view(enrolled: EnrolledParty) -> PartyView:
        return party_view(enrolled.record).model_copy(update={"certificate": enrolled.certificate})

    enrol = parties.enrol_party
    return await once(state, caller, key, request, 201, view, enrol, state.on, caller, body.identity, body.request)


@router.get("", operation_id="listParties", response_model=list[PartyView])
async def list_parties(reader: CurrentReader, state: State) -> JSONResponse:
    """Every agent that was enrolled, with its identity."""
    await reader.decide(Action.PARTY_LIST)
    found = await state.reads(parties.parties_of, state.on, reader.caller.tenant)
    return JSONResponse([party_view(record).model_dump(mode="json") for record in found])


@router.post("/{party}/certificate", operation_id="renewParty", status_code=201, response_model=CertificateView)
async def renew_party(body: RenewParty, party: PartyRef, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Renew an agent's certificate, also one that has ended. Its identity stays, and so does all that others pinned."""
    request = {"route": "renewParty", "party": party, "body": body.model_dump(mode="json")}

    def view(pem: str) -> CertificateView:
        return CertificateView(certificate=pem)

    renew, data = renewing.renew_party, body.renewal.encode()
    return await once(state, caller, key, request, 201, view, renew, state.on, caller, PartyId(party), data)


@router.delete("/{party}", operation_id="disableParty", response_model=PartyView)
async def delete_party(party: PartyRef, caller: CurrentCaller, state: State) -> JSONResponse:
    """End an agent's access, for good. Jobs that wait for it fail at their deadline."""
    record = granted(await state.writes(parties.disable_party, state.on, caller, PartyId(party)))
    return shown(party_view(record))


def party_view(record: PartyRecord) -> PartyView:
    """Show a party."""
    return PartyView(
        party=record.id,
        kind=record.who.kind.value,
        name=record.name,
        owner=record.owner,
        fingerprint=record.fingerprint,
        identity=dict(record.identity),
        disabled=record.disabled,
        connection=record.certificate,
        connection_until=None if record.certificate_until is None else format_time(record.certificate_until),
    )

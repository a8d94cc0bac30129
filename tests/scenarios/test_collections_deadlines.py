"""Jobs on data of sites that somebody keeps waiting, and who may ask the second listener for what."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gateway.services.collections import carrying
from gateway.services.collections.ending import fail_overdue
from kernel.canonical import Digest
from kernel.clock import ManualClock, SystemClock
from kernel.ids import JobId
from privacy.homomorphic.documents.endings import Refusal
from privacy.homomorphic.documents.parties import PartyKind
from privacy.homomorphic.documents.places import WORK, Place
from privacy.homomorphic.documents.signed import DocumentKind
from tests.scenarios.test_collections_struck import struck_at, survived
from tests.support.api import House, done, house, refused
from tests.support.hospitals import Hospitals, Party, events


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The gateway's; it stands still unless it is moved."""
    return ManualClock(SystemClock().now())


@pytest.fixture(scope="module")
def made(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("deadlines") / "home", clock=clock) as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"))


def state_of(made: House, job: str) -> str:
    """How a job stands."""
    return str(done(made["trainer"].get(f"/v1/jobs/{job}"))["state"])


def test_a_job_that_waits_past_its_deadline_fails_once(made: House, hospitals: Hospitals, clock: ManualClock) -> None:
    """No key comes in time: nothing was decrypted, nothing is marked, and what comes late is refused."""
    job = hospitals.admitted(round_seconds=60)["job"]
    clock.advance(60)
    assert (fail_overdue(made.gateway.on), state_of(made, job)) == (0, "collecting")
    clock.advance(1)
    assert fail_overdue(made.gateway.on) == 1
    assert (fail_overdue(made.gateway.on), state_of(made, job)) == (0, "failed")
    hospitals.turn(hospitals.holder)
    assert hospitals.holder.wire.fetch(Place(JobId(job), DocumentKind.KEY)) is None
    assert events(made, "population:uncovered", "key:announced") == []
    ended = [one for one in events(made, "job:ended") if one["job"] == job]
    assert [(one["end"], one["attempts"]) for one in ended] == [("failed", 0)]


@pytest.mark.parametrize(("side", "left"), [("before-commit", 1), ("committed", 0)])
def test_a_noised_job_that_waits_past_its_deadline_is_charged_in_full_once(
    made: House, hospitals: Hospitals, clock: ManualClock, side: str, left: int
) -> None:
    """RULES 11: what a site sent is in doubt, so that each population pays the whole job, whenever a gateway died."""
    asked = {"kind": "he.statistics", "result": "noised", "epsilon": "0.5", "queries": [{"kind": "count"}]}
    job = hospitals.requested(**asked, family=None, outcome=None, predictors=None, round_seconds=60)
    assert job["state"] == "collecting"
    clock.advance(61)
    with struck_at(made, f"collection-overdue:{side}") as seen:
        survived(lambda: fail_overdue(made.gateway.on))  # type: ignore[arg-type]  # how many is not asked
    assert f"collection-overdue:{side}" in seen
    assert (fail_overdue(made.gateway.on), fail_overdue(made.gateway.on)) == (left, 0)
    assert state_of(made, job["job"]) == "failed"
    charged = [one for one in events(made, "budget:charged") if one["job"] == job["job"]]
    assert [one["in_full"] for one in charged] == [True] * 3
    assert all(part["times"] == 1 for one in charged for part in one["charges"])


def test_a_site_that_is_late_ends_the_round_and_the_job(made: House, hospitals: Hospitals, clock: ManualClock) -> None:
    """Two of three uploads came: no sum is decrypted, and the third is no longer taken."""
    job = hospitals.admitted(round_seconds=60)["job"]
    hospitals.turn(hospitals.holder)
    for site in hospitals.sites[:2]:
        hospitals.turn(site)
    # Nothing is marked, so the key holder is given nothing that it could decrypt; a site reads its own.
    for reader, found in ((hospitals.holder, False), (hospitals.sites[0], True)):
        first = Place(JobId(job), DocumentKind.UPLOAD, 1, hospitals.sites[0].party)
        assert (reader.wire.fetch(first) is not None) is found
    clock.advance(61)
    late = hospitals.sites[2]
    upload = Place(JobId(job), DocumentKind.UPLOAD, 1, late.party)
    refused(late.wire.client.put(upload.path, content=b"anything"), 409)
    assert late.wire.work() == []  # asking for work is enough to end what is overdue
    assert state_of(made, job) == "failed"
    assert [one for one in events(made, "round:decrypted") if one["job"] == job] == []


def test_every_place_is_closed_to_whoever_has_no_part(made: House, hospitals: Hospitals) -> None:
    """Each kind of place, read and written by: a party of another job, nobody, and one that was disabled."""
    job = JobId(hospitals.admitted()["job"])
    stranger = hospitals.enrolled("stranger", "other-owner", PartyKind.SITE)
    gone = hospitals.enrolled("gone", "other-owner", PartyKind.SITE)
    done(made["other-owner"].delete(f"/v1/parties/{gone.party}"))
    site = hospitals.sites[0].party
    places = (
        Place(job, DocumentKind.ORDER),
        Place(job, DocumentKind.KEY),
        Place(job, DocumentKind.ROUND, 1),
        Place(job, DocumentKind.UPLOAD, 1, site),
        Place(job, DocumentKind.RESULT, 1),
        Place(job, DocumentKind.FINAL),
        Place(job, DocumentKind.REFUSAL, party=site),
    )
    for place, (who, status) in product(places, ((stranger, 404), (gone, 401))):
        refused(who.wire.client.get(place.path), status)
        refused(who.wire.client.put(place.path, content=b"x"), status)
    assert done(stranger.wire.client.get(WORK)) == {"jobs": []}
    refused(gone.wire.client.get(WORK), 401)
    readable = {place.path for place in places if hospitals.sites[1].wire.fetch(place) is not None}
    assert readable == {places[0].path}


@pytest.mark.parametrize("kind", ["key", "result", "final"])
def test_a_site_writes_nothing_of_the_key_holders(hospitals: Hospitals, kind: str) -> None:
    """Nor does the key holder write for a site, or anybody the order."""
    job, site = JobId(hospitals.admitted()["job"]), hospitals.sites[0]
    place = Place(job, DocumentKind(kind), 1 if kind == "result" else 0)
    refused(site.wire.client.put(place.path, content=b"x"), 404)
    holder = hospitals.holder.wire.client
    refused(holder.put(Place(job, DocumentKind.UPLOAD, 1, site.party).path, content=b"x"), 404)
    refused(holder.put(Place(job, DocumentKind.REFUSAL, party=site.party).path, content=b"x"), 404)
    refused(holder.put(Place(job, DocumentKind.ORDER).path, content=b"x"), 404)


GARBAGE = (
    b"",
    b"{}",
    b"null",
    b"\x00" * 64,
    b"privgate/parcel/v1\n\xff\xff\xff\xff",
    b'{"payload":"","signatures":[]}',
)


def test_garbage_is_refused_in_words_and_changes_nothing(made: House, hospitals: Hospitals) -> None:
    """In every place that a party may write: a problem document, no server error, no entry, no document."""
    job = JobId(hospitals.admitted()["job"])
    hospitals.turn(hospitals.holder)
    before = len(made.log())
    mine: list[tuple[Party, Place]] = [
        (hospitals.holder, Place(job, DocumentKind.RESULT, 1)),
        (hospitals.holder, Place(job, DocumentKind.ROUND, 2)),
        (hospitals.holder, Place(job, DocumentKind.FINAL)),
        (hospitals.sites[0], Place(job, DocumentKind.UPLOAD, 1, hospitals.sites[0].party)),
        (hospitals.sites[0], Place(job, DocumentKind.REFUSAL, party=hospitals.sites[0].party)),
    ]
    for (party, place), data in product(mine, GARBAGE):
        answer = party.wire.client.put(place.path, content=data)
        assert answer.status_code in (409, 413, 422), (place, data, answer.text)
    for path in ("/parties/v1/jobs/none/order", f"/parties/v1/jobs/{job}/rounds/0/round", "/parties/v1/nothing"):
        assert hospitals.holder.wire.client.get(path).status_code in (404, 422)
    assert len(made.log()) == before
    assert state_of(made, str(job)) == "collecting"
    secret = made_secret_key()
    problem = refused(mine[3][0].wire.client.put(mine[3][1].path, content=secret), 422)
    assert "secret key" in problem["detail"]


def made_secret_key() -> bytes:
    """A real secret key inside what could be a parcel."""
    from privacy.homomorphic.tenseal_backend.keys import make_keys
    from tests.support.consortium import PROFILE

    with make_keys(PROFILE).secret as secret:
        return b"privgate/parcel/v1\n\x00\x00\x00\x01x" + secret.reveal()


def test_a_disabled_party_is_named_by_no_new_job(made: House, hospitals: Hospitals, tmp_path: Path) -> None:
    """A key holder whose access ended cannot be asked for any more."""
    other = hospitals.enrolled("second-holder", "lab", PartyKind.KEYHOLDER)
    done(made["lab"].delete(f"/v1/parties/{other.party}"))
    refused(made["trainer"].post("/v1/jobs", hospitals.body(key_holder=str(other.party))), 409)


def test_a_grant_that_says_nothing_of_exact_results_lets_none_out(
    made: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never is the default: the request is denied before anybody is asked."""
    with house(tmp_path_factory.mktemp("never") / "home") as other:
        hospitals = Hospitals(other, tmp_path_factory.mktemp("cautious"), exact=False)
        for path in ("/v1/quotes", "/v1/jobs"):
            assert refused(other["trainer"].post(path, hospitals.body()), 403)["reason"] == "exact-not-permitted"


def test_the_same_document_twice_at_once_is_taken_twice(
    made: House, hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lost an answer sends it again while the first is stored: that is no other document, and ends nothing."""
    job, site = JobId(hospitals.admitted()["job"]), hospitals.sites[0]
    with site.home() as home:
        sent = Refusal(job=job, order=Digest.of(b"order"), party=site.party).signed(home.signer)
    place, on, stored = Place(job, DocumentKind.REFUSAL, party=site.party), made.gateway.on, carrying.keep_bytes
    with on.database.read() as reading:
        party = reading.parties.get(id=site.party)

    def again(*given: Any) -> Any:
        monkeypatch.setattr(carrying, "keep_bytes", stored)
        carrying.put_document(on, party, place, sent)
        return stored(*given)

    monkeypatch.setattr(carrying, "keep_bytes", again)
    assert carrying.put_document(on, party, place, sent).received == Digest.of(sent)
    assert state_of(made, job) == "failed"
    assert [one["party"] for one in events(made, "party:declined") if one["job"] == job] == [site.party]

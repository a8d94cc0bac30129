"""Uploads at the edge: bounded, honest about broken ones, and nothing is kept of what was refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.api import body_reader
from gateway.api.body_reader import BodyReader
from kernel.errors import InvalidError
from tests.support.api import House, dataset_body, done, refused, rows_csv
from tests.support.asgi import GONE, HANG, Answer, ask, piece

LIMIT = 2**20
ROWS = rows_csv(50)


@pytest.fixture
def dataset(made: House) -> str:
    """A fresh dataset that waits for its rows."""
    return str(done(made["owner"].post("/v1/datasets", dataset_body(made.ids["population"])), 201)["dataset"])


def sent(made: House, dataset: str, events: list[Any], **headers: str) -> Answer:
    """Send an upload event by event."""
    headers = {"Authorization": f"Bearer {made['owner'].token}"} | headers
    return ask(made.client.app, "PUT", f"/v1/datasets/{dataset}/content", headers, events)


def untouched(made: House, dataset: str) -> bool:
    """Whether nothing was kept: no blob, no version, no task, and the dataset still waits."""
    blobs = [path for path in made.gateway.on.blobs.list() if path.startswith("staged/")]
    with made.gateway.on.database.reading() as connection:
        versions = connection.exec_driver_sql("SELECT count(*) FROM dataset_version").scalar_one()
    return len(blobs) == versions and done(made["owner"].get(f"/v1/datasets/{dataset}"))["state"] == "registered"


def test_an_upload_in_pieces_is_staged(made: House, dataset: str) -> None:
    """202 with the place where its owner may follow it."""
    answer = sent(made, dataset, [piece(ROWS[:100]), piece(b""), piece(ROWS[100:], more=False)])
    assert (answer.status, answer.json()["state"]) == (202, "staged")
    assert done(made["owner"].get(answer.headers["location"]))["version"] == answer.json()["version"]


def test_an_upload_that_says_it_is_too_large_is_not_read(made: House, dataset: str) -> None:
    """413 before its first byte."""
    answer = sent(made, dataset, [HANG], **{"Content-Length": str(LIMIT + 1)})
    assert (answer.status, answer.json()["code"]) == (413, "too-large")
    assert untouched(made, dataset)


def test_an_upload_that_does_not_say_how_large_it_is_is_cut(made: House, dataset: str) -> None:
    """413 in the middle, and the blob that was begun is gone."""
    answer = sent(made, dataset, [piece(b"x" * 2**18)] * 5 + [HANG])
    assert (answer.status, answer.json()["code"]) == (413, "too-large")
    assert untouched(made, dataset)


@pytest.mark.parametrize("declared", [len(ROWS) + 1, len(ROWS) - 1])
def test_an_upload_that_lies_about_its_length_is_refused(made: House, dataset: str, declared: int) -> None:
    """Fewer or more bytes than were declared are no file."""
    answer = sent(made, dataset, [piece(ROWS, more=False)], **{"Content-Length": str(declared)})
    assert (answer.status, answer.json()["field"]) == (422, "content")
    assert untouched(made, dataset)


def test_an_upload_that_breaks_off_never_looks_whole(made: House, dataset: str) -> None:
    """A client that goes away leaves nothing behind."""
    answer = sent(made, dataset, [piece(ROWS), GONE])
    assert (answer.status, answer.json()["field"]) == (422, "content")
    assert untouched(made, dataset)


def test_an_upload_that_drips_is_given_up(made: House, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 once patience is used up, whatever came before."""
    monkeypatch.setattr(body_reader.BodyReader.__init__, "__kwdefaults__", {"patience_seconds": 0.05})
    answer = sent(made, dataset, [piece(b"a"), piece(b"b"), HANG])
    assert (answer.status, answer.json()["code"]) == (408, "request-timeout")
    assert untouched(made, dataset)


def test_two_uploads_at_once_are_one(made: House, dataset: str) -> None:
    """One is staged; the other is told that the dataset is busy, and its bytes are not kept."""

    def send(_: int) -> int:
        return int(made["owner"].put(f"/v1/datasets/{dataset}/content", content=ROWS).status_code)

    with ThreadPoolExecutor(3) as pool:
        statuses = sorted(pool.map(send, range(3)))
    assert statuses[0] == 202
    assert set(statuses[1:]) <= {403, 409}
    with made.gateway.on.database.reading() as connection:
        query = f"SELECT count(*) FROM dataset_version WHERE dataset = '{dataset}'"
        assert connection.exec_driver_sql(query).scalar_one() == 1
        versions = connection.exec_driver_sql("SELECT count(*) FROM dataset_version").scalar_one()
    assert len([path for path in made.gateway.on.blobs.list() if path.startswith("staged/")]) == versions


def test_slow_uploads_hold_up_nobody_else(made: House, dataset: str) -> None:
    """While every place for uploads is taken, a further one is told so, and all else is answered."""
    uploads = made.client.app.state.privgate.uploads
    release, started = threading.Event(), threading.Barrier(5)

    def hold() -> None:
        started.wait()
        release.wait()

    for _ in range(4):
        assert uploads._room.acquire(blocking=False)
        uploads._pool.submit(hold)
    try:
        started.wait(10)
        refused(made["owner"].put(f"/v1/datasets/{dataset}/content", content=ROWS), 503, "unavailable")
        assert done(made["owner"].get(f"/v1/datasets/{dataset}"))["state"] == "registered"
        done(made["admin"].post("/v1/principals", {"name": "x"}), 201)
    finally:
        release.set()
        for _ in range(4):
            uploads._room.release()


@pytest.mark.parametrize(
    "query", ["format=xlsx", "delimiter=%22", "delimiter=ab", "format=parquet&gzip=true", "header=x"]
)
def test_how_a_file_is_written_is_a_closed_choice(made: House, dataset: str, query: str) -> None:
    """422 before anything is staged."""
    refused(made["owner"].put(f"/v1/datasets/{dataset}/content?{query}", content=ROWS), 422)
    assert untouched(made, dataset)


def test_whoever_may_not_upload_sends_for_nothing(made: House, dataset: str) -> None:
    """A denial comes before the body: it is answered although no byte ever arrives."""
    headers = {"Authorization": f"Bearer {made['trainer'].token}"}
    answer = ask(made.client.app, "PUT", f"/v1/datasets/{dataset}/content", headers, [HANG])
    assert (answer.status, answer.json()["reason"]) == (403, "role-not-permitted")
    assert untouched(made, dataset)


def test_a_reader_that_was_left_alone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for bytes of an abandoned request does not wait for ever."""
    monkeypatch.setattr(body_reader, "ABANDONED_AFTER_SECONDS", 0.01)
    reader = BodyReader()
    reader.abandon()
    with pytest.raises(InvalidError):
        reader.read(1)


def staged(made: House) -> Iterator[bytes]:
    """The bytes of every staged blob."""
    for path in made.gateway.on.blobs.list():
        if path.startswith("staged/"):
            with made.gateway.on.blobs.open(path) as blob:
                yield blob.read()


def test_what_is_staged_is_ciphertext(made: House, dataset: str) -> None:
    """No piece of the rows lies on disk in the clear."""
    done(made["owner"].put(f"/v1/datasets/{dataset}/content", content=ROWS), 202)
    lying = list(staged(made))
    assert lying
    assert not [content for content in lying if b"age,dose" in content or ROWS[40:60] in content]

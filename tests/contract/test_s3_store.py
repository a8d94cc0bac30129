"""What is S3's own: objects in pieces, a server that is away, and what its errors may say."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from unittest import mock

import obstore
import pytest

from gateway.storage import blobs
from gateway.storage.blobs import INCOMING, S3BlobStore
from kernel.errors import ConflictError, InvalidError, TooLargeError, UnavailableError
from privacy.sealing.stores import BlobPath
from tests.support import s3

PATH = BlobPath("ten_a/dst_b/ver_c/train-00000")


@pytest.fixture
def store() -> Iterator[S3BlobStore]:
    """A store whose small objects are very small."""
    with s3.store(small_bytes=1000) as made:
        yield made


def everything(store: S3BlobStore) -> list[str]:
    """All names in the bucket, those on their way included."""
    return [meta["path"] for page in obstore.list(store._store) for meta in page]


def test_an_object_in_many_parts_comes_back_whole(store: S3BlobStore) -> None:
    """12 MB in parts of 5, read at once, by pieces and from the end."""
    content = os.urandom(12_000_001)
    stored = store.put_new(PATH, io.BytesIO(content))
    assert stored.size == len(content)
    with store.open(PATH) as stream:
        assert stream.read() == content
    with store.open(PATH) as stream:
        stream.seek(-5_000_000, os.SEEK_END)
        assert stream.read(3_000_000) == content[-5_000_000:-2_000_000]
    assert everything(store) == [PATH]


def test_a_large_object_that_loses_the_race_changes_nothing(store: S3BlobStore) -> None:
    """The name is taken between the first look and the end of the copy: S3's own condition refuses it."""
    store.put_new(PATH, b"x" * 2000)
    with mock.patch.object(S3BlobStore, "exists", return_value=False), pytest.raises(ConflictError):
        store.put_new(PATH, b"y" * 2000)
    with store.open(PATH) as stream:
        assert stream.read() == b"x" * 2000
    assert everything(store) == [PATH]


def test_what_is_on_its_way_has_no_name_of_ours(store: S3BlobStore) -> None:
    """A leftover of a crashed writer is neither listed nor readable under any name that we could form."""
    obstore.put(store._store, f"{INCOMING}abc", b"half")
    assert list(store.list()) == []
    with pytest.raises(InvalidError, match="segments"):
        BlobPath(f"{INCOMING}abc")


def test_more_than_a_copy_may_hold_is_refused(store: S3BlobStore) -> None:
    """Too much is said as such, and leaves nothing."""
    with mock.patch.object(blobs, "LARGEST_BYTES", 5000), pytest.raises(TooLargeError):
        store.put_new(PATH, io.BytesIO(bytes(6000)))
    assert everything(store) == []


def test_a_server_that_is_away_is_unavailable_and_its_address_stays_unsaid() -> None:
    """The error names the settings to look at, never what is in them."""
    with mock.patch.dict(os.environ, s3.CREDENTIALS):
        store = S3BlobStore.connect("s3://bucket/prefix", "http://127.0.0.1:9", "us-east-1")
    for act in (lambda: store.put_new(PATH, b"x"), lambda: store.size(PATH), lambda: list(store.list())):
        with pytest.raises(UnavailableError, match="PRIVGATE_S3_ENDPOINT") as caught:
            act()
        assert "127.0.0.1" not in caught.value.message


def test_plain_http_is_spoken_only_where_it_was_written() -> None:
    """An https endpoint is never answered in the clear."""
    with mock.patch.dict(os.environ, s3.CREDENTIALS):
        store = S3BlobStore.connect("s3://bucket", "https://127.0.0.1:9", "us-east-1")
    assert store._store.client_options is not None
    assert store._store.client_options["allow_http"] in (False, "false")

"""What every store of ciphertext must do. Add a factory to `FACTORIES` to hold another store to it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from kernel.errors import ConflictError, InvalidError, NotFoundError
from privacy.sealing.stores import BlobPath, BlobStore, LocalBlobStore
from tests.support import s3

Factory = Callable[[Path], AbstractContextManager[BlobStore]]
FACTORIES: dict[str, Factory] = {
    "local": lambda folder: contextlib.closing(LocalBlobStore(folder / "blobs", entropy=os.urandom)),
    "s3": lambda _: s3.store(),
    # Every object of more than 100 bytes takes the way of the large ones.
    "s3-in-pieces": lambda _: s3.store(small_bytes=100),
}

PATH = BlobPath("ten_a/dst_b/ver_c/train-00000")


@pytest.fixture(params=sorted(FACTORIES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    """One fresh store of each kind."""
    with FACTORIES[request.param](tmp_path) as made:
        yield made


class Interrupted(io.RawIOBase):
    """A source that breaks after its first piece."""

    def __init__(self) -> None:
        self._pieces = 1

    def read(self, size: int = -1, /) -> bytes:
        if not self._pieces:
            raise ConnectionError("the client is gone")
        self._pieces -= 1
        return b"x" * 1000


def _read(stream: BinaryIO) -> bytes:
    with stream:
        return stream.read()


@pytest.mark.parametrize("content", [b"", b"one", bytes(3_000_000)])
def test_what_was_put_is_read_back_with_its_length_and_digest(store: BlobStore, content: bytes) -> None:
    """An object comes back byte for byte, from bytes and from a stream alike."""
    for source, path in ((content, BlobPath("a/bytes")), (io.BytesIO(content), BlobPath("a/stream"))):
        stored = store.put_new(path, source)
        assert (stored.size, stored.digest.raw) == (len(content), hashlib.sha256(content).digest())
        assert _read(store.open(path)) == content
        assert store.size(path) == len(content)
        assert store.exists(path)


def test_an_object_is_never_replaced(store: BlobStore) -> None:
    """A second put under the same name is a conflict and changes nothing."""
    store.put_new(PATH, b"first")
    with pytest.raises(ConflictError):
        store.put_new(PATH, b"second")
    assert _read(store.open(PATH)) == b"first"


def test_of_many_that_race_for_a_name_exactly_one_wins(store: BlobStore) -> None:
    """Concurrent puts of one name store one whole content."""

    def attempt(number: int) -> int | None:
        try:
            store.put_new(PATH, io.BytesIO(bytes([number]) * 200_000))
        except ConflictError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(attempt, range(16)) if n is not None]
    assert len(winners) == 1
    assert _read(store.open(PATH)) == bytes(winners) * 200_000


def test_an_interrupted_put_leaves_nothing(store: BlobStore) -> None:
    """When the source breaks, the name stays free and nothing is listed."""
    with pytest.raises(ConnectionError):
        store.put_new(PATH, Interrupted())  # type: ignore[arg-type]
    assert not store.exists(PATH)
    assert list(store.list()) == []
    store.put_new(PATH, b"later")


def test_an_open_object_is_seekable(store: BlobStore) -> None:
    """Readers may go anywhere, as a Parquet reader does."""
    store.put_new(PATH, bytes(range(256)))
    with store.open(PATH) as stream:
        assert stream.seekable()
        assert stream.seek(-6, os.SEEK_END) == 250
        assert stream.read() == bytes(range(250, 256))
        stream.seek(3)
        assert stream.read(2) == bytes([3, 4])


def test_what_is_not_there_is_not_found(store: BlobStore) -> None:
    """Opening, measuring and deleting know the difference between missing and empty; a folder is no object."""
    store.put_new(PATH, b"")
    for missing in (BlobPath("nothing"), BlobPath("ten_a"), BlobPath("ten_a/dst_b/ver_c"), BlobPath(PATH + "/below")):
        with pytest.raises(NotFoundError):
            store.open(missing)
        with pytest.raises(NotFoundError):
            store.size(missing)
        assert not store.exists(missing)
        store.delete(missing)
    assert store.exists(PATH)


def test_deleting_frees_the_name(store: BlobStore) -> None:
    """A deleted object is gone and unlisted, and deleting again is harmless."""
    store.put_new(PATH, b"x")
    store.delete(PATH)
    store.delete(PATH)
    assert not store.exists(PATH)
    assert list(store.list()) == []


def test_a_list_names_what_lies_below_whole_segments(store: BlobStore) -> None:
    """`a/b` lists `a/b/...` and not `a/bc`, in order."""
    for path in ("a/b/2", "a/b/1", "a/bc/1", "z"):
        store.put_new(BlobPath(path), b"")
    assert list(store.list(BlobPath("a/b"))) == ["a/b/1", "a/b/2"]
    assert list(store.list()) == ["a/b/1", "a/b/2", "a/bc/1", "z"]
    assert list(store.list(BlobPath("nothing"))) == []


@pytest.mark.parametrize(
    "path",
    ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", ".incoming/x", "a/.b", "A", "a b", "a\x00", "a\n",
     "a\\b", "a%2e%2e/b", "ä", "a..b", "a.", "a/" * 8 + "a", "a" * 241],
)  # fmt: skip
def test_a_name_that_could_leave_the_store_is_refused(store: BlobStore, path: str) -> None:
    """Traversal, absolute paths, control characters, hidden names and overlong ones never reach the store."""
    with pytest.raises(InvalidError):
        BlobPath(path)
    for verb in (store.open, store.size, store.exists, store.delete):
        with pytest.raises(InvalidError):
            verb(path)  # type: ignore[operator]
    with pytest.raises(InvalidError):
        store.put_new(path, b"")  # type: ignore[arg-type]


def test_segments_are_joined_without_smuggled_slashes() -> None:
    """A segment that holds a slash is refused."""
    assert BlobPath.of("a", "b.c") == "a/b.c"
    with pytest.raises(InvalidError):
        BlobPath.of("a", "b/c")

"""The local store: durable before it is named, ours alone, and clean after a crash."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.errors import ConflictError, InvalidError, NotFoundError
from privacy.sealing.stores import BlobPath, LocalBlobStore

PATH = BlobPath("a/b/c")
POINTS = [
    "blob:before-fsync", "blob:after-fsync", "blob:before-link", "blob:after-link", "blob:before-directory-fsync",
    "blob:after-directory-fsync",
]  # fmt: skip


def _store(folder: Path) -> LocalBlobStore:
    return LocalBlobStore(folder / "blobs", entropy=os.urandom)


def test_files_and_folders_are_ours_alone(tmp_path: Path) -> None:
    """Whatever the umask says, folders are 0700 and files 0600."""
    before = os.umask(0)
    try:
        _store(tmp_path).put_new(PATH, b"x")
    finally:
        os.umask(before)
    for path in [tmp_path / "blobs", *(tmp_path / "blobs").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_an_open_root_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """A folder that others may enter is not used, and the refusal names the command."""
    (tmp_path / "blobs").mkdir(mode=0o755)
    with pytest.raises(InvalidError, match="chmod 700"):
        _store(tmp_path)


def test_links_inside_the_store_lead_nowhere(tmp_path: Path) -> None:
    """A link that somebody planted, to a file or a folder, is not followed."""
    store = _store(tmp_path)
    store.put_new(PATH, b"x")
    (tmp_path / "secret").write_bytes(b"outside")
    (tmp_path / "blobs/a/link").symlink_to(tmp_path / "secret")
    (tmp_path / "blobs/folder").symlink_to(tmp_path)
    for path in (BlobPath("a/link"), BlobPath("folder/secret")):
        assert not store.exists(path)
        with pytest.raises(NotFoundError):
            store.open(path)
    with pytest.raises(ConflictError):
        store.put_new(BlobPath("folder/new"), b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blobs", "secret"]


CRASH = """
import os, signal, sys
from pathlib import Path
from privacy.sealing.stores import BlobPath, LocalBlobStore
def point(name):
    print(name, flush=True)
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
LocalBlobStore(Path(sys.argv[1]), entropy=os.urandom, point=point).put_new(BlobPath("a/b/c"), b"whole")
"""


@pytest.mark.parametrize("point", [*POINTS, "none"])
def test_a_kill_at_any_point_leaves_all_or_nothing(tmp_path: Path, point: str) -> None:
    """After SIGKILL the object is whole or absent, it can be put again if absent, and the leftover is swept."""
    root = tmp_path / "blobs"
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(root), point], check=False, capture_output=True, text=True, cwd=Path.cwd()
    )
    assert done.returncode == (0 if point == "none" else -signal.SIGKILL), done.stderr
    if point == "none":
        assert [line for line in done.stdout.split() if line.startswith("blob:")] == POINTS
    store = _store(tmp_path)
    if store.exists(PATH):
        assert store.open(PATH).read() == b"whole"
        assert point in (*POINTS[3:], "none")
    else:
        store.put_new(PATH, b"again")
    store.sweep()
    assert list((root / ".incoming").iterdir()) == []


def test_sweeping_spares_an_upload_in_progress(tmp_path: Path) -> None:
    """Another process may sweep while we write; our temporary file stays."""
    store, other = _store(tmp_path), _store(tmp_path)

    class Source:
        def __init__(self) -> None:
            self.pieces = [b"one", b"two", b""]

        def read(self, _: int) -> bytes:
            assert other.sweep() == 0
            return self.pieces.pop(0)

    store.put_new(PATH, Source())  # type: ignore[arg-type]
    assert store.open(PATH).read() == b"onetwo"


def test_a_child_is_told_the_file_of_an_object(tmp_path: Path) -> None:
    """The path given to a confined child names the object itself, and only one that exists."""
    store = _store(tmp_path)
    store.put_new(PATH, b"x")
    assert store.local_path(PATH).read_bytes() == b"x"
    with pytest.raises(NotFoundError):
        store.local_path(BlobPath("a/b/d"))

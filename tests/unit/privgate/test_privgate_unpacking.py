"""An archive from a gateway that lies: nothing outside the target, nothing but plain files, all or nothing."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import ConflictError, CorruptError, TooLargeError
from privgate.sdk import unpacking
from privgate.sdk.unpacking import unpack

GOOD = {"audit/archive.json": b"{}\n", "audit/tile/0/000.p/3": b"x" * 96, "certificates/rel_a.json": b"{}"}


def member(name: str, kind: bytes = tarfile.REGTYPE, **changes: Any) -> tarfile.TarInfo:
    """Member."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in changes.items():
        setattr(info, field, value)
    return info


def packed(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Packed."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                tar.addfile(each, io.BytesIO(b"\0" * each.size) if each.isreg() else None)
            else:
                info = member(each[0], size=len(each[1]))
                tar.addfile(info, io.BytesIO(each[1]))
    return written.getvalue()


def pieces(data: bytes, size: int = 700) -> Iterator[bytes]:
    """Pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def test_an_archive_is_unpacked_as_it_is(tmp_path: Path) -> None:
    """An archive is unpacked as it is."""
    target = unpack(pieces(packed(*GOOD.items())), tmp_path / "export")
    found = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert found == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


ATTACKS = {
    "parent": ("../evil", b"x"),
    "parent inside": ("audit/../../evil", b"x"),
    "absolute": ("/tmp/privgate-evil", b"x"),
    "dot": ("./evil", b"x"),
    "hidden": (".ssh/authorized_keys", b"x"),
    "backslash": ("audit\\evil", b"x"),
    "empty part": ("audit//evil", b"x"),
    "control": ("audit/ev\nil", b"x"),
    "long part": ("audit/" + "a" * 101, b"x"),
    "deep": ("/".join("a" * 13), b"x"),
    "not ascii": ("audit/\u00e9", b"x"),
    "symbolic link": member("audit/link", tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": member("audit/link", tarfile.LNKTYPE, linkname="audit/archive.json"),
    "fifo": member("audit/fifo", tarfile.FIFOTYPE),
    "character device": member("audit/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block device": member("audit/disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
    "folder": member("audit/folder", tarfile.DIRTYPE),
    "twice": ("audit/archive.json", b"other"),
    "file as folder": ("audit/archive.json/x", b"x"),
    "pax name": member("audit/ok", pax_headers={"path": "../evil"}),
    "pax link": member("audit/ok", tarfile.SYMTYPE, linkname="x", pax_headers={"linkpath": "../../evil"}),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_what_does_not_belong_is_refused_and_nothing_is_kept(tmp_path: Path, attack: Any, first: bool) -> None:
    """What does not belong is refused and nothing is kept."""
    good = list(GOOD.items())
    data = packed(attack, *good) if first else packed(*good, attack)
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(CorruptError):
        unpack(pieces(data), home / "export")
    assert list(home.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert not Path("/tmp/privgate-evil").exists()


def test_a_link_followed_by_a_file_through_it_writes_nowhere(tmp_path: Path) -> None:
    """A link followed by a file through it writes nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = member("audit/link", tarfile.SYMTYPE, linkname=str(outside))
    with pytest.raises(CorruptError):
        unpack(pieces(packed(link, ("audit/link/evil", b"x"))), tmp_path / "export")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 100, 513, 1100])
def test_an_archive_that_breaks_off_is_refused(tmp_path: Path, cut: int) -> None:
    """An archive that breaks off is refused."""
    data = packed(("audit/a", b"x" * 600), ("audit/b", b"y" * 600)).rstrip(b"\0")
    with pytest.raises(CorruptError):
        unpack(pieces(data[:-cut]), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"\0" * 10240, b"not a tar file" * 100], ids=["nothing", "zeros", "noise"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """What is no archive is refused."""
    with pytest.raises(CorruptError):
        unpack(pieces(data), tmp_path / "export")


def test_sizes_are_refused_before_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are refused before they are written."""
    monkeypatch.setattr(unpacking, "LARGEST_FILE", 100)
    with pytest.raises(TooLargeError):
        unpack(pieces(packed(("audit/a", b"x" * 101))), tmp_path / "export")
    monkeypatch.setattr(unpacking, "LARGEST_ARCHIVE", 150)
    with pytest.raises(TooLargeError):
        unpack(pieces(packed(("audit/a", b"x" * 100), ("audit/b", b"x" * 100))), tmp_path / "export")
    monkeypatch.setattr(unpacking, "MOST_FILES", 1)
    with pytest.raises(TooLargeError):
        unpack(pieces(packed(("audit/a", b""), ("audit/b", b""))), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_target_is_left_alone(tmp_path: Path) -> None:
    """An existing target is left alone."""
    target = tmp_path / "export"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(ConflictError):
        unpack(pieces(packed(*GOOD.items())), target)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError):
        unpack(pieces(packed(*GOOD.items())), link)
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_a_connection_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """A connection that breaks off leaves nothing."""

    def broken() -> Iterator[bytes]:
        yield packed(*GOOD.items())[:700]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        unpack(broken(), tmp_path / "export")
    assert list(tmp_path.iterdir()) == []

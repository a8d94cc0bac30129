"""Archives: what is written, and that the reader cannot be led anywhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from audit.archive import ENTRIES_PER_FILE, LINE_LIMIT, Archive, Opening, payload_file, tree_files
from audit.events import LogRead
from audit.export import write_archive
from kernel.errors import ConflictError, CorruptError, InvalidError, NotFoundError, TooLargeError, UnavailableError


def test_an_archive_holds_the_tree_and_one_tenants_payloads(published: Any, tmp_path: Path) -> None:
    """All tiles and bundles, and of payloads exactly this tenant's, in the order of the log."""
    archive = published.export(tmp_path, tenant=1)
    assert archive.tenant == published.ids[1]
    assert archive.foreign == ()
    assert archive.files == {
        "archive.json",
        "checkpoint",
        "payloads/000000.jsonl",
        *(tile.path for tile in tree_files(300)),
    }
    entries = list(archive.entries())
    assert [entry.index for entry in entries] == list(range(1, 300, 3))
    assert [entry.payload.seq for entry in entries] == list(range(100))
    stored = published.log.entries(published.ids[1])
    assert [entry.payload.id for entry in entries] == [entry.id for entry in stored]
    assert LogRead.from_fields(entries[0].payload.fields).first == 1
    other = published.log.entries(published.ids[0])[0]
    assert not any(other.salt.hex() in path.read_bytes().hex() for path in tmp_path.rglob("*") if path.is_file())


def test_payload_files_can_be_read_with_ordinary_tools(published: Any, tmp_path: Path) -> None:
    """Each line is JSON: the index, the payload as an object, the salt."""
    published.export(tmp_path)
    lines = (tmp_path / "audit/payloads/000000.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    assert set(first) == {"index", "payload", "salt"}
    assert first["payload"]["type"] == "log:read"


def test_two_exports_of_one_checkpoint_are_equal(published: Any, tmp_path: Path) -> None:
    """Byte for byte: an archive is a function of log, tenant and checkpoint."""
    contents = []
    for name in ("a", "b"):
        published.export(tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]


def test_an_older_checkpoint_can_be_exported(world: Any, tmp_path: Path) -> None:
    """Then nothing that came after it is in the archive."""
    world.fill(260)
    note = world.log.newest_checkpoint()
    world.fill(300)
    archive = world.export(tmp_path, note=note)
    assert len(list(archive.entries())) == 130
    assert max(entry.index for entry in archive.entries()) < 260


def test_a_long_history_has_several_payload_files(make_world: Any, tmp_path: Path) -> None:
    """A thousand entries to a file; a whole number of thousands has no empty file behind it."""
    made = make_world(tenants=1)
    made.fill(2 * ENTRIES_PER_FILE)
    assert {n for n in made.export(tmp_path / "a").files if n.startswith("p")} == {payload_file(0), payload_file(1)}
    made.fill(1)
    archive = made.export(tmp_path / "b")
    assert payload_file(2) in archive.files
    assert [entry.payload.seq for entry in archive.entries()] == list(range(2 * ENTRIES_PER_FILE + 1))


def test_the_empty_log_and_the_silent_tenant_can_be_exported(world: Any, tmp_path: Path) -> None:
    """No entries, no payload files; before the first checkpoint there is nothing to export."""
    with pytest.raises(UnavailableError):
        world.export(tmp_path / "none")
    world.publish()
    assert list(world.export(tmp_path / "empty").entries()) == []
    world.write(1)
    world.publish()
    archive = world.export(tmp_path / "silent")
    assert list(archive.entries()) == []
    assert "payloads" not in " ".join(archive.files)


def test_nothing_is_overwritten(published: Any, tmp_path: Path) -> None:
    """A directory that has an archive keeps it."""
    published.export(tmp_path)
    with pytest.raises(ConflictError):
        write_archive(tmp_path, tenant=published.ids[0], store=published.log, tiles=published.tiles)


def test_a_line_is_read_back_and_bounded() -> None:
    """Index, payload and salt; a longer line than the limit is refused unread."""
    opening = Opening(7, b'{"a":"}"}', bytes(range(32)))
    assert Opening.parse(opening.line()) == opening
    for line in (
        opening.line()[:-1],
        opening.line() + b"\n",
        opening.line().replace(b":7", b":07"),
        opening.line().replace(b":7", b":9007199254740992"),
        opening.line().replace(b'8="', b'9="'),
        b"",
        b"\n",
        Opening(7, b'{"a":"' + b"x" * LINE_LIMIT + b'"}', bytes(32)).line(),
    ):
        with pytest.raises(CorruptError):
            Opening.parse(line)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../outside",
        "audit/../../outside",
        "a//b",
        "./a",
        "a/",
        ".hidden",
        "a\\b",
        "a\x00b",
        "a/..",
        "a\n",
        7,
    ],
    ids=repr,
)
def test_a_name_cannot_leave_the_archive(published: Any, tmp_path: Path, name: Any) -> None:
    """Only plain relative names are looked at."""
    (tmp_path / "outside").write_bytes(b"secret")
    archive = published.export(tmp_path / "archive")
    with pytest.raises(InvalidError):
        archive.read(name)


def test_links_are_never_followed(published: Any, tmp_path: Path) -> None:
    """Neither a linked file nor a linked folder is opened, inside `audit/` or beside it; they are named as foreign."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_bytes(b"secret")
    archive = published.export(tmp_path / "archive")
    for place in ("audit/linked", "linked", "audit/folder", "folder"):
        target = tmp_path / ("secret" if "folder" in place else "secret/file")
        (tmp_path / "archive" / place).symlink_to(target)
    os.mkfifo(tmp_path / "archive/audit/pipe")
    archive = Archive.open(tmp_path / "archive")
    assert archive.foreign == ("folder", "linked", "pipe")
    for name in ("audit/linked", "linked", "audit/folder/file", "folder/file", "audit/pipe", "audit"):
        with pytest.raises(CorruptError):
            archive.read(name)
    assert archive.documents("folder") == ()


def test_sizes_are_limited_before_reading(published: Any, tmp_path: Path) -> None:
    """A sparse file of a terabyte is refused, not read."""
    archive = published.export(tmp_path)
    with (tmp_path / "audit/checkpoint").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(TooLargeError):
        archive.checkpoint_note()
    with pytest.raises(TooLargeError):
        archive.read("audit/archive.json", limit=10)


def test_documents_beside_the_log_are_read_by_name(published: Any, tmp_path: Path) -> None:
    """Certificates and evidence lie in folders of plain files."""
    archive = published.export(tmp_path)
    (tmp_path / "certificates").mkdir()
    for name in ("rel_b.json", "rel_a.json", ".hidden", "odd name"):
        (tmp_path / "certificates" / name).write_bytes(b"{}")
    assert archive.documents("certificates") == ("certificates/rel_a.json", "certificates/rel_b.json")
    assert archive.documents("nothing") == ()
    assert archive.read("certificates/rel_a.json") == b"{}"
    with pytest.raises(NotFoundError):
        archive.read("certificates/rel_c.json")


def test_what_is_no_archive_is_not_opened(tmp_path: Path) -> None:
    """A directory without `audit/`, a missing one, and a link in the place of `audit/`."""
    (tmp_path / "elsewhere/audit").mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/audit").symlink_to(tmp_path / "elsewhere/audit")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "linked"):
        with pytest.raises(NotFoundError):
            Archive.open(path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format":"privgate/archive/v2","tenant":"ten_' + b"a" * 26 + b'"}\n',
        b'{"tenant":1}\n',
        b"\xff",
    ],
    ids=repr,
)
def test_the_manifest_has_one_form(published: Any, tmp_path: Path, manifest: bytes) -> None:
    """Another version, another spelling or junk is refused."""
    archive = published.export(tmp_path)
    (tmp_path / "audit/archive.json").write_bytes(manifest)
    with pytest.raises(CorruptError):
        _ = archive.tenant


def test_reading_stops_at_the_first_entry_that_does_not_open(published: Any, tmp_path: Path) -> None:
    """And says which it is."""
    archive = published.export(tmp_path)
    path = tmp_path / "audit/payloads/000000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (
        lines[:5] + lines[6:],
        [*lines[:5], lines[5].replace(b"auditor", b"trainer"), *lines[6:]],
        lines[:5],
    ):
        path.write_bytes(b"".join(damaged))
        read = []
        with pytest.raises(CorruptError, match="entry 15"):
            read.extend(entry.index for entry in archive.entries())
        assert len(read) in (0, 5)

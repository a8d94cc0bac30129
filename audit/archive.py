"""The archive: an exported directory, and the one reader of history.

Rules
-----
1. A name is a relative path of plain components; links, devices and anything outside the directory are never opened.
2. Every file has a size limit that is known before it is read.
3. The reader gives bytes and entries, not trust: `audit.verify` says whether they may be believed.
4. Documents that belong to the history (certificates, evidence, a report) lie beside `audit/` and are read by name.

Format: `docs/formats/archive.md`.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.checkpoint import read_unverified
from audit.entry import PAYLOAD_LIMIT, Leaf, Payload, opens, parse_leaf
from audit.note import NOTE_LIMIT
from audit.tiles import BUNDLE_LIMIT, ENTRIES, TILE_WIDTH, Tile, decode_bundle, levels_of, tiles_of
from kernel import canonical
from kernel.canonical import LARGEST_INTEGER
from kernel.errors import CorruptError, InvalidError, NotFoundError, PrivgateError, TooLargeError
from kernel.ids import TenantId
from kernel.signing import unbase64

FORMAT = "privgate/archive/v1"
ENTRIES_PER_FILE = 1000
LINE_LIMIT = PAYLOAD_LIMIT + 128
PAYLOAD_FILE_LIMIT = ENTRIES_PER_FILE * LINE_LIMIT
DOCUMENT_LIMIT = 64 * 2**20
MOST_FILES = 2_000_000
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}){0,11}")
_LINE = re.compile(rb'\{"index":(0|[1-9][0-9]{0,15}),"payload":(\{.*\}),"salt":"([A-Za-z0-9+/]{43}=)"\}\n', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one leaf: the entry's index in the log, its payload and its salt."""

    index: int
    payload: bytes
    salt: bytes

    def line(self) -> bytes:
        """Write the line of a payload file, newline included."""
        salt = base64.b64encode(self.salt)
        return b'{"index":%d,"payload":%s,"salt":"%s"}\n' % (self.index, self.payload, salt)

    @classmethod
    def parse(cls, line: bytes) -> Opening:
        """Read what `line` writes; raise `CorruptError` if it has another form. The payload itself stays unread."""
        match = _LINE.fullmatch(line) if len(line) <= LINE_LIMIT else None
        if match is None or int(match[1]) > LARGEST_INTEGER:
            raise CorruptError("a line of a payload file is malformed")
        try:
            return cls(int(match[1]), match[2], unbase64(match[3].decode("ascii"), "salt"))
        except InvalidError:
            raise CorruptError("a line of a payload file is malformed") from None


@dataclass(frozen=True, slots=True)
class ArchivedEntry:
    """One of the tenant's entries, opened."""

    index: int
    leaf: Leaf
    payload: Payload


def payload_file(number: int) -> str:
    """The name of a payload file below `audit/`."""
    return f"payloads/{number:06}.jsonl"


def manifest(tenant: TenantId) -> bytes:
    """The bytes of `archive.json`."""
    return canonical.encode({"format": FORMAT, "tenant": tenant}) + b"\n"


def tree_files(size: int) -> Iterator[Tile]:
    """Every bundle and tile that a tree of `size` has."""
    for level in (ENTRIES, *levels_of(size)):
        yield from tiles_of(level, size)


class Archive:
    """An exported directory. Build one with `open`; every method raises a `PrivgateError` on anything unexpected."""

    def __init__(self, root: Path, files: frozenset[str], foreign: tuple[str, ...]) -> None:
        self.root = root
        self.files = files
        """Names of the regular files below `audit/`, relative to it."""
        self.foreign = foreign
        """What lies below `audit/` and must not be there: links, devices, odd names."""

    @classmethod
    def open(cls, path: Path) -> Archive:
        """List an archive; raise `NotFoundError` if there is none at `path`."""
        audit = path / "audit"
        if audit.is_symlink() or not audit.is_dir():
            raise NotFoundError("there is no archive here: a directory with `audit/` in it is expected", field="path")
        files, foreign = _listed(audit)
        return cls(path, frozenset(files), tuple(foreign))

    @property
    def tenant(self) -> TenantId:
        """Whose archive it says it is."""
        data = self.read("audit/archive.json", limit=1024)
        try:
            tenant = TenantId(canonical.decode(data, limit=1024)["tenant"])
        except (PrivgateError, KeyError, TypeError):
            raise CorruptError("`archive.json` is malformed", field="audit/archive.json") from None
        if manifest(tenant) != data:
            raise CorruptError("`archive.json` is malformed", field="audit/archive.json")
        return tenant

    def read(self, name: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
        """Read one file by its name relative to the archive.

        Raises:
            InvalidError: Not a plain relative name.
            NotFoundError: No such file.
            CorruptError: A link or something else that is no plain file.
            TooLargeError: Longer than `limit` bytes.
        """
        path = self._path(name)
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise CorruptError("not a plain file", field=name)
            if status.st_size > limit:
                raise TooLargeError(f"longer than {limit} bytes", field=name)
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError("no such file in the archive", field=name) from None
        except OSError:
            raise CorruptError("the file cannot be read", field=name) from None
        if len(data) > limit:
            raise TooLargeError(f"longer than {limit} bytes", field=name)
        return data

    def documents(self, folder: str) -> tuple[str, ...]:
        """The names of the plain files in a folder beside `audit/`, sorted; none if there is no such folder."""
        path = self._path(folder)
        if path.is_symlink():
            return ()
        try:
            names = [f"{folder}/{entry.name}" for entry in os.scandir(path) if entry.is_file(follow_symlinks=False)]
        except OSError:
            return ()
        return tuple(sorted(name for name in names if _NAME.fullmatch(name)))

    def checkpoint_note(self) -> bytes:
        """The signed note, unverified."""
        return self.read("audit/checkpoint", limit=NOTE_LIMIT)

    def tile(self, tile: Tile) -> bytes:
        """A tile or bundle; its size is limited, its content is not looked at."""
        limit = BUNDLE_LIMIT if tile.level == ENTRIES else 32 * TILE_WIDTH
        return self.read(f"audit/{tile.path}", limit=limit)

    def payload_lines(self, number: int) -> list[bytes]:
        """The lines of one payload file, each with its newline, if it has one."""
        data = self.read(f"audit/{payload_file(number)}", limit=PAYLOAD_FILE_LIMIT)
        lines = [line + b"\n" for line in data.split(b"\n")]
        last = lines.pop()[:-1]
        return [*lines, last] if last else lines

    def entries(self) -> Iterator[ArchivedEntry]:
        """Read the tenant's entries in the order of the log, each opened.

        Raises:
            PrivgateError: At the first entry that is missing, out of order or does not open; says at which.
        """
        tenant, size = self.tenant, read_unverified(self.checkpoint_note()).size
        lines: Iterator[bytes] = iter(())
        seq = 0
        for bundle in tiles_of(ENTRIES, size):
            for index, data in enumerate(decode_bundle(self.tile(bundle), bundle.width), bundle.index * TILE_WIDTH):
                leaf = parse_leaf(data)
                if leaf.tenant != tenant:
                    continue
                if seq % ENTRIES_PER_FILE == 0:
                    lines = iter(self.payload_lines(seq // ENTRIES_PER_FILE))
                yield _opened(index, leaf, seq, next(lines, b""))
                seq += 1

    def _path(self, name: str) -> Path:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise InvalidError("a name in an archive is a plain relative path", field="name")
        path = self.root
        for part in name.split("/"):
            if path.is_symlink() and path != self.root:
                raise CorruptError("a link in the archive", field=name)
            path = path / part
        return path


def _opened(index: int, leaf: Leaf, seq: int, line: bytes) -> ArchivedEntry:
    try:
        opening = Opening.parse(line)
        if opening.index != index or leaf.seq != seq:
            raise CorruptError("the entry is out of order")
        return ArchivedEntry(index, leaf, opens(leaf, opening.payload, opening.salt))
    except PrivgateError as error:
        place = f"audit/{payload_file(seq // ENTRIES_PER_FILE)}"
        raise CorruptError(f"entry {index}: {error.message}", field=place) from None


def _listed(audit: Path) -> tuple[list[str], list[str]]:
    files: list[str] = []
    foreign: list[str] = []
    for folder, subfolders, names in os.walk(audit):
        for name in subfolders + names:
            path = Path(folder, name)
            relative = path.relative_to(audit).as_posix()
            if _NAME.fullmatch(relative) is None or path.is_symlink() or not (path.is_file() or path.is_dir()):
                foreign.append(relative)
            elif name not in subfolders:
                files.append(relative)
        if len(files) + len(foreign) > MOST_FILES:
            raise TooLargeError(f"an archive has at most {MOST_FILES} files", field="audit")
    return files, sorted(foreign)

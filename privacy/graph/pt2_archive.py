"""The zip around a `torch.export` program: which entries there are, and the bytes of those that are read.

Rules
-----
1. Nothing is written to a disk, unpickled or evaluated. Entries that may hold a pickle are never read.
2. Entries are stored, not compressed, as torch writes them: so an entry is never larger than the file that holds it.
3. Every entry must be one that torch writes, once, under a plain relative path. Everything else is refused.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError

LIMIT = 32 * 2**20
JSON_LIMIT = 8 * 2**20
MOST_ENTRIES = 2048
_PATH = re.compile(r"[A-Za-z0-9_.-]{1,128}(/[A-Za-z0-9_.-]{1,128}){1,4}")
_PICKLE: Final = re.compile(r"[^/]+/data\.pkl")
_FORMATS: Final = {"archive_format": b"pt2", "byteorder": b"little"}
_READ: Final = re.compile(
    r"models/[\w.-]+\.json|data/weights/(weight_\d{1,4}|[\w.-]+_weights_config\.json)"
    r"|data/constants/[\w.-]+_constants_config\.json|archive_format|byteorder"
)
_NEVER_READ: Final = re.compile(
    r"data/sample_inputs/[\w.-]+\.pt|data/constants/[\w.-]+|archive_version|\.data/(version|serialization_id)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The bytes of the entries that are read, by their path within the archive."""

    entries: Mapping[str, bytes]

    def only(self, folder: str, ending: str) -> bytes:
        """The one entry of a folder with this ending."""
        found = [name for name in self.entries if name.startswith(folder) and name.endswith(ending)]
        if len(found) != 1:
            raise InvalidError(f"the file must hold exactly one `{folder}*{ending}`", field="model")
        return self.entries[found[0]]


def open_archive(data: bytes) -> Archive:
    """Read the zip.

    Raises:
        TooLargeError: More bytes or entries than a model needs.
        CorruptError: Not a zip, or a damaged one.
        InvalidError: An entry that torch does not write so.
    """
    if len(data) > LIMIT:
        raise TooLargeError(f"a model file has at most {LIMIT} bytes", field="model")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            return _read(opened, len(data))
    except PrivgateError:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError):
        # `zipfile` meets a hostile file with any of these; RuntimeError stands for encryption and unknown methods.
        raise CorruptError("not a zip as `torch.export.save` writes it", field="model") from None


def _read(opened: zipfile.ZipFile, size: int) -> Archive:
    infos = opened.infolist()
    if any(_PICKLE.fullmatch(info.filename) for info in infos):
        raise InvalidError(
            "it was written with `torch.save` or `torch.jit.save` (.pt), which is a pickle and never read: write the "
            "model with `torch.export.save` (.pt2), or give the module to `from_torch`",
            field="model",
        )
    if len(infos) > MOST_ENTRIES or sum(max(info.file_size, info.compress_size) for info in infos) > size:
        raise TooLargeError("the file declares more entries or bytes than it has", field="model")
    prefix = _prefix(infos)
    entries: dict[str, bytes] = {}
    for info in infos:
        name = info.filename[len(prefix) :]
        if _READ.fullmatch(name):
            if name.endswith(".json") and info.file_size > JSON_LIMIT:
                raise TooLargeError(f"a description in a model file has at most {JSON_LIMIT} bytes", field="model")
            entries[name] = _bytes_of(opened, info)
        elif not _NEVER_READ.fullmatch(name):
            raise InvalidError("the file holds an entry that `torch.export.save` does not write", field="model")
    for name, content in _FORMATS.items():
        if entries.get(name) != content:
            raise InvalidError("save the model with `torch.export.save` of torch 2.9 or later", field="model")
    return Archive(entries=entries)


def _prefix(infos: list[zipfile.ZipInfo]) -> str:
    """The folder that all entries share; every path is looked at before any entry is read."""
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise InvalidError("the file holds the same entry twice", field="model")
    for info in infos:
        # `orig_filename` is what the file says; `filename` is what `zipfile` made of it.
        parts = info.filename.split("/")
        if info.orig_filename != info.filename or not _PATH.fullmatch(info.filename) or {".", ".."} & set(parts):
            raise InvalidError("the file holds an entry with a path that torch does not write", field="model")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise InvalidError("entries of a model file are stored, neither compressed nor encrypted", field="model")
    prefixes = {name.partition("/")[0] for name in names}
    if len(prefixes) != 1:
        raise InvalidError("all entries of a model file lie in one folder", field="model")
    return f"{prefixes.pop()}/"


def _bytes_of(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with opened.open(info) as stream:
        content = stream.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise CorruptError("an entry of the file has another length than it declares", field="model")
    return content

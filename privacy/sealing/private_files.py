"""Opening files that hold secrets: only ours, only we may read them, never through a link.

Rules
-----
1. What is checked is the opened descriptor, not the path, so that nothing can change in between.
2. A refusal names the file and the command that mends it.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from kernel.errors import InvalidError, NotFoundError
from kernel.ids import Entropy
from kernel.signing import unbase64
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.durable import (
    FILE_MODE,
    NEW_FILE,
    OPEN_DIRECTORY,
    flush_directory,
    flush_file,
    no_point,
    write_all,
)
from privacy.sealing.secret import SecretBytes

KEY_FILE_PREFIX = "privgate-key-v1:"
SHORTEST_PASSPHRASE = 12
_LONGEST_SECRET_FILE = 4096


def open_private_directory(path: Path) -> int:
    """Open a directory that only its owner, us, may enter; return its descriptor."""
    try:
        directory = os.open(path, OPEN_DIRECTORY)
    except FileNotFoundError:
        raise NotFoundError(f"no directory `{path}`", field=str(path)) from None
    except OSError:
        raise InvalidError(f"`{path}` must be a directory of our own, not a file or a link", field=str(path)) from None
    try:
        _check(os.fstat(directory), str(path), allowed=0o700)
    except InvalidError:
        os.close(directory)
        raise
    return directory


def open_private_file(name: str, *, directory: int | None = None, shown: str = "") -> int:
    """Open a file that only its owner, us, may read; return its descriptor.

    Args:
        name: Path, or a name within `directory`.
        directory: Descriptor of the directory.
        shown: How to name the file in a refusal.
    """
    shown = shown or name
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        raise NotFoundError(f"no file `{shown}`", field=shown) from None
    except OSError:
        raise InvalidError(f"`{shown}` must be a readable plain file of our own, not a link", field=shown) from None
    try:
        _check(os.fstat(file), shown, allowed=0o600)
    except InvalidError:
        os.close(file)
        raise
    return file


def read_all(file: int, limit: int) -> bytes:
    """Read a whole file of at most `limit` bytes and close it."""
    with os.fdopen(file, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise InvalidError(f"a file of secrets is longer than {limit} bytes")
    return data


def make_key_file(path: Path, entropy: Entropy) -> None:
    """Write a new key file; an existing one is never replaced."""
    line = KEY_FILE_PREFIX + base64.b64encode(entropy(KEY_BYTES)).decode("ascii") + "\n"
    try:
        file = os.open(path, NEW_FILE, FILE_MODE)
    except FileExistsError:
        raise InvalidError(f"`{path}` exists already and is not replaced", field=str(path)) from None
    try:
        write_all(file, line.encode("ascii"))
        flush_file(file, "key-file", no_point)
    finally:
        os.close(file)
    directory = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_directory(directory, "key-file", no_point)
    finally:
        os.close(directory)


def read_key_file(path: Path) -> SecretBytes:
    """Read what `make_key_file` writes."""
    data = read_all(open_private_file(str(path)), _LONGEST_SECRET_FILE)
    text = data.decode("ascii", "replace").removesuffix("\n")
    if not text.startswith(KEY_FILE_PREFIX):
        raise InvalidError(f"`{path}` is not a key file: it must start with `{KEY_FILE_PREFIX}`", field=str(path))
    key = unbase64(text.removeprefix(KEY_FILE_PREFIX), "key file")
    if len(key) != KEY_BYTES:
        raise InvalidError(f"`{path}` must hold {KEY_BYTES} bytes in base64", field=str(path))
    return SecretBytes(key)


def read_passphrase_file(path: Path) -> SecretBytes:
    """Read a passphrase; one line feed at the end is not part of it."""
    data = read_all(open_private_file(str(path)), _LONGEST_SECRET_FILE).removesuffix(b"\n")
    return check_passphrase(data)


def check_passphrase(passphrase: bytes) -> SecretBytes:
    """Return the passphrase as a secret if it is UTF-8 of at least 12 characters."""
    try:
        length = len(passphrase.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidError("the passphrase must be UTF-8", field="passphrase") from None
    if length < SHORTEST_PASSPHRASE:
        raise InvalidError(f"the passphrase needs at least {SHORTEST_PASSPHRASE} characters", field="passphrase")
    return SecretBytes(passphrase)


def _check(found: os.stat_result, shown: str, *, allowed: int) -> None:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise InvalidError(f"`{shown}` must be a plain file", field=shown)
    if found.st_uid != os.geteuid():
        raise InvalidError(
            f"`{shown}` belongs to another user: chown it to the user that runs the gateway", field=shown
        )
    if stat.S_IMODE(found.st_mode) & ~allowed:
        raise InvalidError(f"`{shown}` is open to others: run `chmod {allowed:o}` on it", field=shown)

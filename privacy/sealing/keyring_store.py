"""The keyring on its disk: one writer at a time, readers that notice a change, and never a step back.

Rules
-----
1. A writer holds a file lock from reading to renaming; the file is replaced whole.
2. A reader re-reads and re-checks when the file changed. The file that was read is kept open, so that its number
   cannot be given to a newer one.
3. A file with a lower generation than the newest seen is refused, and so is one that fails its MAC.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kernel.errors import ConflictError, CorruptError, NotFoundError
from kernel.ids import Entropy
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.durable import (
    DIRECTORY_MODE,
    FILE_MODE,
    NEW_FILE,
    Point,
    flush_directory,
    flush_file,
    place_new,
    replace,
    write_all,
)
from privacy.sealing.keyring_file import (
    FILE_LIMIT,
    Root,
    Unlock,
    lock_root,
    read_document,
    unlock_root,
    write_document,
)
from privacy.sealing.private_files import open_private_directory, open_private_file, read_all
from privacy.sealing.secret import SecretBytes

FILE, LOCK, NEW = "keyring.json", "keyring.lock", ".keyring.json.new"
Document = dict[str, Any]


class KeyringStore:
    """An open keyring directory with its root. Safe to share between threads and processes."""

    def __init__(self, path: Path, point: Point) -> None:
        self._shown = str(path)
        self._directory = open_private_directory(path)
        self._point = point
        self._mutex = threading.RLock()
        self._root: Root | None = None
        self._document: Document = {}
        self._held = -1
        self._seen: tuple[int, ...] = ()
        self._least = 0

    @property
    def root(self) -> Root:
        """What wraps and unwraps; raise `ConflictError` once closed."""
        return self._require_open()

    def create(self, unlock: Unlock, entropy: Entropy) -> None:
        """Write the first file under a fresh root; raise `ConflictError` if there is one."""
        with SecretBytes.random(KEY_BYTES, entropy) as secret, self._locked():
            root = Root(secret)
            body = {"canary": root.canary(entropy), "generation": 1, "secrets": {}, "tenants": {}}
            self._write(write_document(root, body, lock_root(secret, unlock, entropy)), new=True)

    def unlock(self, unlock: Unlock, at_least: int) -> None:
        """Open the root and check everything; see `Keyring.open`."""
        with self._mutex:
            self._least = at_least
            file = self._open()
            try:
                document = read_document(read_all(os.dup(file), FILE_LIMIT))
                with unlock_root(document["lock"], unlock) as secret:
                    self._root = Root(secret)
                self._accept(document, file)
            except BaseException:
                os.close(file)
                raise

    def current(self) -> Document:
        """Return the body as it stands on the disk; not to be changed."""
        with self._mutex:
            self._require_open()
            if self._on_disk() != self._seen:
                self._reload()
            body: Document = self._document["body"]
            return body

    def change(self, change: Callable[[Document], object]) -> Document:
        """Apply `change` to the newest body, write it if it differs, and return it."""
        with self._mutex, self._locked():
            before = self.current()
            body = copy.deepcopy(before)
            change(body)
            if body != before:
                body["generation"] += 1
                self._write(write_document(self.root, body, self._document["lock"]), new=False)
            return self.current()

    def close(self) -> None:
        """Forget the root and let go of the directory."""
        with self._mutex:
            self._root = None
            for file in (self._held, self._directory):
                if file >= 0:
                    os.close(file)
            self._held = self._directory = -1

    def _require_open(self) -> Root:
        if self._root is None:
            raise ConflictError("the keyring is closed")
        return self._root

    def _open(self) -> int:
        return open_private_file(FILE, directory=self._directory, shown=f"{self._shown}/{FILE}")

    def _on_disk(self) -> tuple[int, ...]:
        try:
            return _identity(os.stat(FILE, dir_fd=self._directory, follow_symlinks=False))
        except FileNotFoundError:
            return ()

    def _reload(self) -> None:
        file = self._open()
        try:
            self._accept(read_document(read_all(os.dup(file), FILE_LIMIT)), file)
        except BaseException:
            os.close(file)
            raise

    def _accept(self, document: Document, file: int) -> None:
        self.root.check(document)
        if document["body"]["generation"] < self._least:
            raise CorruptError("the keyring is older than one that was seen before: restore the newest")
        if self._held >= 0:
            os.close(self._held)
        self._least, self._document = document["body"]["generation"], document
        self._held, self._seen = file, _identity(os.fstat(file))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=self._directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, data: bytes, *, new: bool) -> None:
        # A leftover of a crash may hold keys that were destroyed since. We have the lock, so nobody is writing it.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(NEW, dir_fd=self._directory)
        file = os.open(NEW, NEW_FILE, FILE_MODE, dir_fd=self._directory)
        try:
            write_all(file, data)
            flush_file(file, "keyring", self._point)
        finally:
            os.close(file)
        if not new:
            return replace(self._directory, NEW, FILE, "keyring", self._point)
        try:
            return place_new((self._directory, NEW), (self._directory, FILE), "keyring", self._point)
        except FileExistsError:
            raise ConflictError(f"`{self._shown}` holds a keyring already", field=self._shown) from None


def make_directory(path: Path, point: Point) -> None:
    """Make the keyring's directory unless it exists, and make its name durable."""
    try:
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        parent = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(f"no directory `{path.parent}`", field=str(path)) from None
    except FileExistsError:
        return
    try:
        flush_directory(parent, "keyring-parent", point)
    finally:
        os.close(parent)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)

"""The files of a bundle that lie beside the log: read once, within limits, no link followed.

Rules
-----
1. A name is relative and of plain components; a link or a device is never opened, and is reported.
2. Every size is limited before a file is read.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

LARGEST_FILE = 192 * 2**20
MOST_FILES = 1_000_000
LOG = "audit"
FACTS = "evidence"
"""The folder with documents of live facts."""


@dataclass(frozen=True)
class Evidence:
    """What lies at a path.

    Attributes:
        root: The directory.
        names: Every plain file outside `audit/`, relative to it, sorted.
        foreign: What is neither a plain file nor a folder, and must not be there.
    """

    root: Path
    names: tuple[str, ...]
    foreign: tuple[str, ...]
    _read: dict[str, bytes | None] = field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, path: Path) -> Evidence:
        """List a directory."""
        names: list[str] = []
        foreign: list[str] = []
        for folder, subfolders, files in os.walk(path):
            for name in [*subfolders, *files]:
                found = Path(folder, name)
                relative = found.relative_to(path).as_posix()
                mode = found.lstat().st_mode
                if stat.S_ISREG(mode):
                    names.append(relative)
                elif not stat.S_ISDIR(mode):
                    foreign.append(relative)
            subfolders[:] = sorted(sub for sub in subfolders if not (Path(folder) == path and sub == LOG))
            if len(names) + len(foreign) > MOST_FILES:
                break
        return cls(path, tuple(sorted(names)), tuple(sorted(foreign)))

    @property
    def has_log(self) -> bool:
        """Whether there is anything that calls itself the archive of a log."""
        return os.path.lexists(self.root / LOG)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; nothing if there is none of that name, or it is too long or cannot be read."""
        if name not in self._read:
            self._read[name] = self._bytes(name) if name in self.names else None
        return self._read[name]

    def folder(self, name: str) -> tuple[str, ...]:
        """The names of the files directly in a folder; `""` is the top."""
        prefix = f"{name}/" if name else ""
        inside = (full[len(prefix) :] for full in self.names if full.startswith(prefix))
        return tuple(rest for rest in inside if "/" not in rest)

    def folders_with(self, *names: str) -> tuple[str, ...]:
        """The folders that hold a file of one of these names; `""` is the top."""
        found = {full.rpartition("/")[0] for full in self.names if full.rpartition("/")[2] in names}
        return tuple(sorted(folder for folder in found if "/" not in folder))

    def _bytes(self, name: str) -> bytes | None:
        try:
            with (self.root / name).open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError:
            return None
        return data if len(data) <= LARGEST_FILE else None

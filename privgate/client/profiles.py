"""Where a person's sign-ins are kept: one JSON file per profile, readable by its owner alone.

Rules
-----
1. A profile holds address, token, and the certificate authority that was pinned at sign-in. The trust file that was
   pinned at enrolment lies beside it.
2. Each file has mode 0600 in a directory of mode 0700; looser permissions are refused with the command that mends them.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.checks import text
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import Slug

if TYPE_CHECKING:
    from audit.trust import TrustFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How to reach one gateway as one principal."""

    url: str
    token: str
    authority: str | None = None
    """PEM of the certificate authority to trust; absent means the system's."""

    def __post_init__(self) -> None:
        text(2048, url=self.url)
        if not self.url.startswith("https://"):
            raise InvalidError("`url` must begin with https://", field="url")
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token or not self.token:
            raise InvalidError(
                "`token` is empty, or holds what is no token: copy all of it, and nothing else", field="token"
            )

    def __repr__(self) -> str:
        return f"Profile({self.url}, ***)"


def profile_directory() -> Path:
    """`$PRIVGATE_CONFIG`, or `~/.config/privgate`."""
    chosen = os.environ.get("PRIVGATE_CONFIG")
    return Path(chosen) if chosen else Path.home() / ".config" / "privgate"


def save(name: str, profile: Profile) -> Path:
    """Write a profile, replacing one of the same name."""
    return _write(profile_directory() / f"{Slug(name)}.json", json.dumps(asdict(profile)).encode("utf-8"))


def save_trust(name: str, trust: TrustFile) -> Path:
    """Pin a trust file for a profile, replacing what was pinned."""
    return _write(trust_path(name), trust.to_bytes())


def trust_path(name: str) -> Path:
    """Where the trust file of a profile is kept."""
    return profile_directory() / f"{Slug(name)}.trust"


def load_trust(name: str) -> TrustFile | None:
    """The trust file that is pinned for a profile, if one is; raise `InvalidError` if it is damaged."""
    from audit.trust import TrustFile

    path = trust_path(name)
    return TrustFile.from_bytes(_read(path)) if path.exists() else None


def load(name: str) -> Profile:
    """Read a profile.

    Raises:
        NotFoundError: There is none of that name; the message says how to sign in.
        InvalidError: Others can read the file, or it is damaged.
    """
    path = profile_directory() / f"{Slug(name)}.json"
    if not path.exists():
        raise NotFoundError(f"no profile `{name}`: run `privgate login --profile {name}`")
    try:
        return Profile(**json.loads(_read(path)))
    except (ValueError, TypeError):
        raise InvalidError(f"the profile is damaged: run `privgate login --profile {name}` again") from None


def forget(name: str) -> None:
    """Remove a profile and what is pinned for it; nothing happens if there is none."""
    trust_path(name).unlink(missing_ok=True)
    (profile_directory() / f"{Slug(name)}.json").unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    for place, mode in ((path.parent, "700"), (path, "600")):
        if place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InvalidError(f"others can read your sign-ins: run `chmod {mode} {place}`", field="profile")
    return path.read_bytes()


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    fresh.replace(path)
    return path

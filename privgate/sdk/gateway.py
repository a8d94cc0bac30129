"""The gateway as one principal sees it: all verbs in one place.

Rules
-----
1. What a principal may not do is the gateway's to refuse; no verb is hidden here.
2. Verbs take ids or the views that hold them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from kernel.errors import InvalidError
from privgate.client import profiles
from privgate.client.http import Connection
from privgate.client.profiles import Profile
from privgate.sdk import html
from privgate.sdk.administrator import AdministratorVerbs
from privgate.sdk.auditor import AuditorVerbs
from privgate.sdk.owner import OwnerVerbs
from privgate.sdk.trainer import TrainerVerbs
from privgate.sdk.views import Identity

if TYPE_CHECKING:
    from audit.trust import TrustFile


class Gateway(OwnerVerbs, TrainerVerbs, AuditorVerbs, AdministratorVerbs):
    """One gateway as one principal. Close it, or use it as a context manager."""

    def __init__(self, profile: Profile, trust: TrustFile | None = None) -> None:
        super().__init__(Connection(profile), trust)
        self.url = profile.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Gateway({self.url})"

    def _repr_html_(self) -> str:
        me = self.whoami()
        return html.card(f"gateway {self.url}", me.lines())

    def whoami(self) -> Identity:
        """Who you are here, with your roles."""
        return Identity.read(self.connection.get("/v1/self"))


def connect(
    profile: str = "default",
    *,
    url: str | None = None,
    token: str | None = None,
    authority: str | Path | None = None,
    trust: TrustFile | str | Path | None = None,
) -> Gateway:
    """Connect to a gateway, by a profile that `privgate login` made or by address and token.

    Args:
        profile: The profile's name.
        url: The gateway's address, in place of a profile.
        token: The access token that goes with it.
        authority: PEM of the certificate authority to trust, or its file; by default the system's.
        trust: The pinned trust file; by default the one that is kept with the profile.
    """
    if (url is None) != (token is None):
        raise InvalidError("give `url` and `token` together, or a profile", field="url")
    if url is None or token is None:
        pinned = _trust(trust) if trust is not None else profiles.load_trust(profile)
        return Gateway(profiles.load(profile), pinned)
    return Gateway(Profile(url=url, token=token, authority=_authority(authority)), _trust(trust))


def _authority(authority: str | Path | None) -> str | None:
    if authority is None or (isinstance(authority, str) and "-----BEGIN" in authority):
        return authority
    return Path(authority).read_text(encoding="ascii", errors="replace")


def _trust(trust: TrustFile | str | Path | None) -> TrustFile | None:
    if not isinstance(trust, (str, Path)):
        return trust
    from audit.trust import TrustFile

    return TrustFile.from_bytes(Path(trust).read_bytes())

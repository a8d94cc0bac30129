"""Access tokens: opaque, checked offline for typing errors, stored only as hashes.

Rules
-----
1. A token is `pgw_` + credential id body + `_` + 43 characters of secret + 8 of checksum. The secret has 256 random
   bits, so a plain SHA-256 stores it safely (no slow hash is needed for what cannot be guessed).
2. The stored hash is bound to the credential id; comparison takes constant time, also for an unknown id.
3. A token is shown once, expires, and can be revoked. It never appears in a log, an error or a URL.

Format: docs/formats/token.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime

from kernel.errors import UnauthenticatedError
from kernel.ids import CredentialId, Entropy, PrincipalId, TenantId

_TOKEN = re.compile(r"pgw_([a-z2-7]{26})_([A-Za-z0-9_-]{43})([0-9a-f]{8})")
_NOBODY = b"\x00" * 32


@dataclass(frozen=True, slots=True)
class Credential:
    """What is stored of a token.

    Attributes:
        secret_hash: `hash_secret(id, secret)`.
        expires_at: After this instant the token is nobody's.
        revoked: Set by an administrator; for ever.
    """

    id: CredentialId
    tenant: TenantId
    principal: PrincipalId
    secret_hash: bytes
    expires_at: datetime
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A parsed token: which credential, and the secret that proves it."""

    credential: CredentialId
    secret: str

    def written(self) -> str:
        """The text that a client sends; show it once."""
        body = self.credential.removeprefix("tok_")
        return f"pgw_{body}_{self.secret}{_checksum(body + self.secret)}"

    def __repr__(self) -> str:
        return f"Token({self.credential}, ***)"


def new_token(credential: CredentialId, entropy: Entropy) -> Token:
    """Draw a fresh token for a credential."""
    secret = base64.urlsafe_b64encode(entropy(32)).decode("ascii").rstrip("=")
    return Token(credential, secret)


def parse_token(written: str) -> Token:
    """Read a token; a typing error is found without asking the database.

    Raises:
        UnauthenticatedError: Not a token of this form.
    """
    match = _TOKEN.fullmatch(written)
    if match is None or not hmac.compare_digest(_checksum(match[1] + match[2]), match[3]):
        raise UnauthenticatedError("the access token is not valid: check that all of it was copied")
    return Token(CredentialId(f"tok_{match[1]}"), match[2])


def hash_secret(credential: CredentialId, secret: str) -> bytes:
    """What is stored instead of the secret."""
    return hashlib.sha256(b"privgate/token/v1\x00" + credential.encode() + b"\x00" + secret.encode()).digest()


def authenticate(token: Token, stored: Credential | None, now: datetime) -> Credential:
    """Return the credential that `token` proves.

    Raises:
        UnauthenticatedError: Unknown, wrong, expired or revoked; the message does not say which.
    """
    given = hash_secret(token.credential, token.secret)
    matches = hmac.compare_digest(given, stored.secret_hash if stored is not None else _NOBODY)
    if stored is None or not matches or stored.revoked or now >= stored.expires_at:
        raise UnauthenticatedError("the access token is not valid here; sign in again")
    return stored


def _checksum(text: str) -> str:
    return f"{binascii.crc32(text.encode('ascii')):08x}"

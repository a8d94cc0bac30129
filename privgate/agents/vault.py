"""What an agent seals on its own disk: its private keys, and the secret key of each job.

Rules
-----
1. AES-256-GCM under a random root; the root is wrapped under a key file or a passphrase, as the keyring's is
   (docs/formats/keyring.md, "lock").
2. A value is sealed for its place, and opens at no other.

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kernel import canonical
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import Entropy
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.keyring_file import PassphraseCost, Root, Unlock, lock_root, unlock_root
from privacy.sealing.private_files import open_private_file, read_all
from privacy.sealing.secret import SecretBytes

NAME: Final = "vault.json"
_LIMIT: Final = 64 * 1024
_LOCKS: Final = ({"kind", "salt", "wrapped_root"}, {"argon2id", "kind", "salt", "wrapped_root"})


class Vault:
    """Seals and opens while the agent runs.

    Args:
        root: From `opened`.
        entropy: Where nonces come from.
    """

    def __init__(self, root: SecretBytes, entropy: Entropy) -> None:
        self._root, self._entropy = Root(root), entropy

    def seal(self, value: bytes, **place: str) -> bytes:
        """Encrypt a value for its place."""
        return self._root.wrap(value, place, self._entropy).encode("ascii")

    def open(self, sealed: bytes, **place: str) -> SecretBytes:
        """Decrypt what `seal` made for the same place; raise `CorruptError` otherwise."""
        return self._root.unwrap(sealed.decode("ascii", "replace"), place)


def new_vault(unlock: Unlock, entropy: Entropy) -> tuple[bytes, Vault]:
    """Draw a root; return the file that holds it, wrapped, and the open vault."""
    root = SecretBytes.random(KEY_BYTES, entropy)
    return canonical.encode({"lock": lock_root(root, unlock, entropy), "v": 1}), Vault(root, entropy)


def opened(path: Path, unlock: Unlock, entropy: Entropy) -> Vault:
    """Open a vault's file.

    Raises:
        InvalidError: The key file or passphrase is another, or others can read the file.
        CorruptError: The file is damaged.
    """
    data = read_all(open_private_file(str(path)), _LIMIT)
    return Vault(unlock_root(_lock(data), unlock), entropy)


def _lock(data: bytes) -> Mapping[str, Any]:
    try:
        body = canonical.decode(data, limit=_LIMIT, canonical=True)
        lock = body["lock"]
        if set(body) != {"lock", "v"} or body["v"] != 1 or set(lock) not in _LOCKS:
            raise InvalidError("unknown members")
        if "argon2id" in lock:
            PassphraseCost(**lock["argon2id"])
    except (PrivgateError, KeyError, TypeError):
        raise CorruptError("the vault is damaged or of another version: restore it from its backup") from None
    return dict(lock)

"""What a client keeps of an encrypted question until he has read its answer: in memory, or sealed in a folder.

Rules
-----
1. The secret key is sealed before anything of the question is sent. Whoever has a folder and its key file can read the
   answer, and nobody else ever.
2. A folder keeps one question. The same one again goes on where it stood; another is refused.
3. Once the answer is read the folder is emptied: the key is overwritten.
4. The folder is made when a question is begun, for its owner alone. The directory that it lies in is its user's affair.

Files: `question.key` (unless the key file lies elsewhere), `vault.json`, `begun.sealed`, `question.sealed` and
`question.bin`, which holds ciphertexts alone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, NotFoundError, PrivgateError
from kernel.ids import JobId
from kernel.signing import unbase64
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.inferences.question import Asked, Question
from privacy.jobs.strict import text_from
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.private_files import make_key_file, read_key_file
from privacy.sealing.secret import SecretBytes
from privgate.agents.papers import Papers
from privgate.agents.vault import NAME as VAULT
from privgate.agents.vault import Vault, new_vault, opened

KEY_FILE: Final = "question.key"
_BEGUN, _SEALED, _PARCEL = "begun.sealed", "question.sealed", "question.bin"
_LIMIT: Final = 2**23


@dataclass(frozen=True, slots=True)
class Kept:
    """A question that may have been sent.

    Attributes:
        job: Whose question it is.
        asked: What is sent.
        secret: What reads the answer.
        places: Which of the rows are in it, in the order of its slots; the others cannot be scored.
    """

    job: JobId
    asked: Asked
    secret: SecretBytes
    places: tuple[int, ...]


class Keeping(Protocol):
    """Where a question is kept."""

    def begun(self) -> bool:
        """Whether a question was begun here, so that it may have been asked for."""
        ...

    def begin(self, wanted: Digest) -> str:
        """Return the idempotency key of what is asked for; raise `ConflictError` if another question is kept here."""
        ...

    def keep(self, kept: Kept) -> None:
        """Keep a question, before it is sent."""
        ...

    def found(self) -> Kept | None:
        """The question that is kept."""
        ...

    def forget(self) -> None:
        """Destroy it: its answer was read."""
        ...


class InMemory:
    """Kept as long as the process lives."""

    def __init__(self) -> None:
        self._kept: Kept | None = None

    def begun(self) -> bool:
        """Nothing outlives the process."""
        return False

    def begin(self, wanted: Digest) -> str:  # noqa: ARG002 - the protocol's: there is nothing to compare with
        """A fresh key."""
        return secrets.token_hex(16)

    def keep(self, kept: Kept) -> None:
        """Remember it."""
        self._kept = kept

    def found(self) -> Kept | None:
        """What is remembered."""
        return self._kept

    def forget(self) -> None:
        """Forget it."""
        self._kept = None


class InFolder:
    """Sealed in a folder that is ours alone.

    Args:
        folder: Made by `begin` if it is not there; its parent is.
        key_file: What opens it; by default a file in the folder, made with it.
    """

    def __init__(self, folder: Path, key_file: Path | None = None) -> None:
        if not folder.parent.is_dir():
            raise NotFoundError(f"no directory `{folder.parent}`", field="keep")
        self._folder, self._key_file, self._own_key = folder, key_file or folder / KEY_FILE, key_file is None
        self._unlock = None if key_file is None else KeyFile(read_key_file(key_file))
        self._inside: tuple[Papers, Vault] | None = None

    def begun(self) -> bool:
        """Whether a key was drawn here; nothing is made by asking."""
        return self._there() and self._read(_BEGUN) is not None

    def begin(self, wanted: Digest) -> str:
        """The key that was drawn for this question, now or before."""
        known = self._read(_BEGUN)
        if known is None:
            known = {"key": secrets.token_hex(16), "wanted": str(wanted)}
            self._write(_BEGUN, known)
        if known.get("wanted") != wanted:
            raise ConflictError("another question is kept in this folder: its answer was not read yet", field="keep")
        return str(known.get("key"))

    def keep(self, kept: Kept) -> None:
        """Ciphertexts as they are, then the key, sealed."""
        self._opened()[0].put(_PARCEL, kept.asked.parcel)
        body = {"job": str(kept.job), "places": list(kept.places), "secret": text_from(kept.secret.reveal())}
        self._write(_SEALED, body)

    def found(self) -> Kept | None:
        """The question that was kept, if its key is here."""
        if not self._there() or (body := self._read(_SEALED)) is None:
            return None
        parcel = self._opened()[0].get(_PARCEL)
        try:
            question = Question.read(Parcel.from_bytes(parcel or b"").document)
            return Kept(
                job=JobId(body["job"]),
                asked=Asked(question, parcel or b""),
                secret=SecretBytes(unbase64(body["secret"], "secret")),
                places=tuple(int(place) for place in body["places"]),
            )
        except (PrivgateError, KeyError, TypeError, ValueError):
            raise CorruptError("what is kept of the question is damaged", field="keep") from None

    def forget(self) -> None:
        """Overwrite the key first, then empty and remove the folder.

        What opens the vault goes last: a client who is killed here finds a folder that can still be opened.
        """
        own = (KEY_FILE,) if self._own_key else ()
        papers = self._opened()[0]
        for name in (_SEALED, _BEGUN, _PARCEL, VAULT, *own):
            papers.drop(name)
        papers.path.rmdir()
        self._inside = None

    def _there(self) -> bool:
        return self._inside is not None or os.path.lexists(self._folder)

    def _opened(self) -> tuple[Papers, Vault]:
        """The folder and what opens it; both are made if they are not there."""
        if self._inside is None:
            papers = Papers(self._folder)
            if self._own_key and not self._key_file.exists():
                make_key_file(self._key_file, os.urandom)
            unlock = self._unlock or KeyFile(read_key_file(self._key_file))
            self._inside = papers, self._vault(papers, unlock)
        return self._inside

    def _vault(self, papers: Papers, unlock: KeyFile) -> Vault:
        if papers.get(VAULT) is None:
            written, vault = new_vault(unlock, os.urandom)
            papers.keep(VAULT, written)
            return vault
        return opened(self._folder / VAULT, unlock, os.urandom)

    def _write(self, name: str, body: Mapping[str, Any]) -> None:
        papers, vault = self._opened()
        papers.keep(name, vault.seal(canonical.encode(dict(body)), place=name))

    def _read(self, name: str) -> Mapping[str, Any] | None:
        papers, vault = self._opened()
        sealed = papers.get(name)
        if sealed is None:
            return None
        with vault.open(sealed, place=name) as plain:
            body = canonical.decode(plain.reveal(), limit=_LIMIT)
        if not isinstance(body, dict):
            raise CorruptError("what is kept of the question is damaged", field="keep")
        return body

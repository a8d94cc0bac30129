"""Chunked encryption: a stream in, random access out, nothing returned that was not authenticated.

Rules
-----
1. The format is C2SP chunked-encryption, instance Cobblestone-256, without any change.
2. A reader is bound to key and context: the commitment is compared before anything is decrypted.
3. The length is authentic before the first read, and each chunk before its first byte is returned.
4. A writer that did not finish leaves a ciphertext that no reader accepts.

Reference: https://c2sp.org/chunked-encryption; docs/formats/chunked-encryption.md.
"""

from __future__ import annotations

import hmac
import io
import os
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from cryptography.cobblestone import Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kernel import canonical
from kernel.errors import CorruptError, InvalidError
from kernel.ids import Identifier, Slug, TenantId
from privacy.sealing.deks import KEY_BYTES, expand
from privacy.sealing.secret import SecretBytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

CHUNK = 16 * 1024
TAG = 16
SEALED_CHUNK = CHUNK + TAG
HEADER = 56
MOST_CHUNKS = 2**38
_SALT = 24
_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_BATCH = 64


class BlobKind(StrEnum):
    """What an encrypted object is."""

    UPLOAD = "upload"
    MANIFEST = "manifest"
    FINGERPRINTS = "fingerprints"
    HOMES = "homes"
    SAVEPOINT = "savepoint"
    RELEASE = "release"


def blob_context(kind: BlobKind, tenant: TenantId, subject: Identifier, part: Slug | None = None) -> bytes:
    """The context that binds an object to its place.

    Args:
        kind: What it is.
        tenant: Whose it is.
        subject: The version, job or release that it belongs to.
        part: Which one, where a subject has several of a kind.
    """
    body: dict[str, Any] = {"kind": kind.value, "subject": subject, "tenant": tenant, "v": 1}
    return canonical.encode(body if part is None else {**body, "part": part})


def ciphertext_size(plaintext: int) -> int:
    """How many bytes `plaintext` bytes become."""
    return HEADER + plaintext + TAG * (plaintext // CHUNK + 1)


def plaintext_size(ciphertext: int) -> int:
    """How many bytes a ciphertext of this length holds; raise `CorruptError` for an impossible length."""
    full, last = divmod(ciphertext - HEADER, SEALED_CHUNK)
    if ciphertext < HEADER or last < TAG or full >= MOST_CHUNKS:
        raise CorruptError("an encrypted object was cut or is not one")
    return full * CHUNK + last - TAG


class ChunkedWriter(io.RawIOBase):
    """A writable stream that encrypts into `sink`.

    Leaving a `with` block without an error finishes the object; an error leaves it unfinished and unreadable. The sink
    is not closed.
    """

    def __init__(self, sink: BinaryIO, key: SecretBytes, context: bytes) -> None:
        self._sink = sink
        self._encryptor: Cobblestone256Encryptor | None = Cobblestone256Encryptor(_checked(key), context)
        self._written = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Encrypt `data`; whole chunks go to the sink at once."""
        if self._encryptor is None:
            raise ValueError("write to a finished encrypted object")
        view = memoryview(data).cast("B")
        self._sink.write(self._encryptor.update(view))
        self._written += len(view)
        return len(view)

    def tell(self) -> int:
        """How many plaintext bytes were written."""
        return self._written

    def finish(self) -> None:
        """Write the last chunk; harmless when repeated."""
        encryptor, self._encryptor = self._encryptor, None
        if encryptor is not None:
            self._sink.write(encryptor.finalize())

    def abandon(self) -> None:
        """Give up; what the sink has is no valid object."""
        self._encryptor = None

    def close(self) -> None:
        """Close without finishing; `finish` must come first."""
        self.abandon()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        self.close()


class ChunkedReader(io.RawIOBase):
    """A seekable stream that decrypts from `source`, which must be seekable and stay open."""

    def __init__(self, source: BinaryIO, key: SecretBytes, context: bytes) -> None:
        self._source = source
        sealed = source.seek(0, os.SEEK_END)
        self.size = plaintext_size(sealed)
        header = self._read_at(0, HEADER)
        _checked(key)
        derived = expand(key, _INFO + header[:_SALT] + context, KEY_BYTES + 12 + 32)
        if not hmac.compare_digest(derived[KEY_BYTES + 12 :], header[_SALT:]):
            raise CorruptError("an encrypted object does not open with this key in this place")
        self._aead = AESGCM(derived[:KEY_BYTES])
        self._nonce = int.from_bytes(derived[KEY_BYTES : KEY_BYTES + 12], "big")
        self._position = 0
        self._last = self.size // CHUNK
        self._kept: tuple[int, bytes] = (self._last, b"")
        self._kept = (self._last, self._decrypt(self._last, self._last + 1))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in the plaintext."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position in the plaintext; beyond the end is allowed and reads nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` authenticated bytes from the position; all that remain if negative or absent.

        Raises:
            CorruptError: A chunk was altered, moved or cut.
        """
        remaining = max(self.size - self._position, 0)
        wanted = remaining if size is None or size < 0 else min(size, remaining)
        pieces = []
        while wanted:
            piece = self._piece(wanted)
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        """Return everything from the position."""
        return self.read(-1)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` from the position; return how many bytes there were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _piece(self, wanted: int) -> bytes:
        chunk, offset = divmod(self._position, CHUNK)
        kept, plain = self._kept
        if kept != chunk:
            end = min(-(-(offset + wanted) // CHUNK), _BATCH) + chunk
            plain = self._decrypt(chunk, min(end, self._last + 1))
            last = (len(plain) - 1) // CHUNK
            self._kept = (chunk + last, plain[last * CHUNK :])
        return plain[offset : offset + wanted]

    def _decrypt(self, first: int, end: int) -> bytes:
        sealed = self._read_at(HEADER + first * SEALED_CHUNK, (end - first) * SEALED_CHUNK)
        view = memoryview(sealed)
        try:
            plain = [
                self._aead.decrypt((self._nonce ^ chunk).to_bytes(12, "big"), view[start : start + SEALED_CHUNK], None)
                for chunk, start in zip(range(first, end), range(0, len(sealed), SEALED_CHUNK), strict=True)
            ]
        except (InvalidTag, ValueError):
            raise CorruptError("an encrypted object was altered") from None
        return b"".join(plain)

    def _read_at(self, position: int, length: int) -> bytes:
        self._source.seek(position)
        pieces, missing = [], length
        while missing and (piece := self._source.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


def encrypt(source: BinaryIO, sink: BinaryIO, key: SecretBytes, context: bytes) -> int:
    """Encrypt a whole stream; return how many plaintext bytes there were."""
    with ChunkedWriter(sink, key, context) as writer:
        while piece := source.read(_BATCH * CHUNK):
            writer.write(piece)
        return writer.tell()


def encrypt_bytes(data: bytes, key: SecretBytes, context: bytes) -> bytes:
    """Encrypt a small object."""
    sink = io.BytesIO()
    encrypt(io.BytesIO(data), sink, key, context)
    return sink.getvalue()


def decrypt_bytes(sealed: bytes, key: SecretBytes, context: bytes) -> bytes:
    """Decrypt a small object; raise `CorruptError` if it is not authentic."""
    return ChunkedReader(io.BytesIO(sealed), key, context).read()


def _checked(key: SecretBytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise InvalidError(f"a key has {KEY_BYTES} bytes", field="key")
    return key.reveal()

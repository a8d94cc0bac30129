"""Reading a question from a stream: judged piece by piece, so that no more than one ciphertext is in memory.

Rules
-----
1. What comes out is what came in, or an error: whoever stores it stores a question of this job, or nothing.
2. The document first: of this job, signed by the key that it names. Then each object has its form, and a ciphertext
   hides something (`validator`). At the end the digests are those of the document, and nothing follows.
3. One sentence for every failure but two: a body that ends early or late, and one that holds a secret key, which then
   has to be thrown away.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from kernel.canonical import Digest
from kernel.errors import InvalidError, PrivgateError
from kernel.ids import JobId
from privacy.homomorphic.documents.signed import LENGTH_BYTES, MAGIC
from privacy.homomorphic.inferences.question import DOCUMENT_BYTES, Question
from privacy.homomorphic.inferences.spec import InferenceSpec
from privacy.homomorphic.validator import holds_secret_key, is_masked
from privacy.homomorphic.wire import Form, ciphertext_form, evaluation_forms

_SENTENCE = "not a question of this job: its document, the keys it announces, and the ciphertexts that the model takes"


class JudgedQuestion(io.RawIOBase):
    """A readable stream of a question's bytes.

    Args:
        source: What a client sends.
        job, spec: What it has to belong to.

    Attributes:
        question: Its document; only there once all of it was read.
        document: The same, signed, as it came.
    """

    def __init__(self, source: BinaryIO, job: JobId, spec: InferenceSpec) -> None:
        self._source, self._job, self._spec = source, job, spec
        self._pieces = self._judged()
        self._rest = b""
        self.question: Question | None = None
        self.document = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end.

        Raises:
            InvalidError: It is no question of this job.
        """
        if size is None or size < 0:
            taken, self._rest = self._rest + b"".join(self._pieces), b""
            return taken
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _judged(self) -> Iterator[bytes]:
        head = self._exactly(len(MAGIC) + LENGTH_BYTES)
        length = int.from_bytes(head[len(MAGIC) :], "big")
        if not head.startswith(MAGIC) or not 0 < length <= DOCUMENT_BYTES:
            raise InvalidError(_SENTENCE, field="content")
        document = self._exactly(length)
        question = self._opened(document)
        yield head + document
        products = self._spec.shape.products
        keys = evaluation_forms(self._spec.profile, (), products=products) if products else ()
        yield from self._body(list(keys), question.keys, masked=False)
        vector = ciphertext_form(self._spec.profile, 0, fresh=True)
        vectors = [vector] * (self._spec.batches * self._spec.shape.features)
        yield from self._body(vectors, question.ciphertexts, masked=True)
        if self._source.read(1):
            raise InvalidError("a question ends with its last ciphertext", field="content")
        self.question, self.document = question, document

    def _opened(self, document: bytes) -> Question:
        try:
            named = Question.read(document)
            question = Question.opened(document, [named.signer])
        except PrivgateError:
            raise InvalidError(_SENTENCE, field="content") from None
        if not question.belongs_to(self._job, self._spec):
            raise InvalidError(_SENTENCE, field="content")
        return question

    def _body(self, forms: list[Form], digest: Digest, *, masked: bool) -> Iterator[bytes]:
        summed = hashlib.sha256()
        for form in forms:
            piece = self._exactly(form.size)
            if holds_secret_key(piece):
                raise InvalidError("this holds a secret key: throw it away and draw another", field="content")
            if not form.matches(piece) or (masked and not is_masked(form, piece)):
                raise InvalidError(_SENTENCE, field="content")
            summed.update(piece)
            yield piece
        if Digest.from_raw(summed.digest()) != digest:
            raise InvalidError(_SENTENCE, field="content")

    def _exactly(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            piece = self._source.read(length - len(found))
            if not piece:
                raise InvalidError("the question ends before its last ciphertext", field="content")
            found += piece
        return bytes(found)

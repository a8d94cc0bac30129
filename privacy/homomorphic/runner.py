"""The homomorphic child: makes keys, encrypts, adds, decrypts, evaluates. One task, then it ends. Child only.

Rules
-----
1. SEAL runs here and nowhere else in the program: what crashes or stalls it ends this process, and is a failed task.
2. Keys and numbers come and go in bodies. An error is a bare exit code; none tells what was wrong with whose upload.
3. A sum that the gateway hands on is flooded (`he-add`): who decrypts it learns the sum and not how it came about.
4. None is added twice: encryption is random, so that two equal uploads are one site's, sent again in another's name.
5. Single uploads are never decrypted: `he-decrypt` adds first, and needs three. `he-decrypt-sum` takes the word of the
   gateway that a body is a sum, and is for jobs whose owners trust it with that.
6. `he-read` decrypts answers for whoever asked, with the key that `he-ask` drew for one question.

Form: docs/formats/he-child.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError
from privacy.graph.spec import ModelGraph
from privacy.graph.weights import unpack_weights
from privacy.homomorphic.blind.recipe import BlindRecipe
from privacy.homomorphic.inference import MODEL_LIMIT, WEIGHTS_LIMIT, Scored, Shape
from privacy.homomorphic.inferences.spec import MOST_BATCHES
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import drawn
from privacy.homomorphic.numbers import read_doubles, read_numbers, written_doubles, written_numbers
from privacy.homomorphic.packing import pack, pack_noise, unpack
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.released import layers_of
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.approximate import OwnKeys
from privacy.homomorphic.tenseal_backend.blind import BlindWorker
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.homomorphic.tenseal_backend.flood import flooded
from privacy.homomorphic.tenseal_backend.inference import answers, ask, asking, infer
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privacy.sandbox.frames import BODY_LIMIT, Channel, expect
from privacy.sealing.secret import SecretBytes

LARGEST_KEY = 2**22


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Do one task over the pipe.

    Args:
        channel: The pipe.
        request: The first frame's header: the role, and what the task needs besides bodies.

    Raises:
        PrivgateError: The request is wrong, or something that came in is not what the layout describes.
    """
    _TASKS[request["role"]](channel, request)


def _keys(channel: Channel, request: Mapping[str, Any]) -> None:
    name, _ = expect(request, "profile", "role")
    pair = make_keys(profile_of(name))
    channel.send({"m": "public"}, pair.public)
    channel.send({"m": "secret"}, pair.secret.reveal())


def _encrypt(channel: Channel, request: Mapping[str, Any]) -> None:
    written, _ = expect(request, "layout", "role")
    layout = Layout.from_json(written)
    key = _body(channel, "key", LARGEST_KEY)
    values = read_numbers(layout, _body(channel, "values", BODY_LIMIT))
    channel.send({"m": "upload"}, encrypt(layout, key, pack(layout, values)))


def _aggregate(channel: Channel, request: Mapping[str, Any]) -> None:
    uploads, written, _ = expect(request, "uploads", "layout", "role")
    layout = Layout.from_json(written)
    channel.send({"m": "sum"}, _sum(channel, layout, uploads).body())


def _add(channel: Channel, request: Mapping[str, Any]) -> None:
    noise, uploads, written, _ = expect(request, "noise", "uploads", "layout", "role")
    layout = Layout.from_json(written)
    total = _sum(channel, layout, uploads)
    if noise:
        total.add_slots(pack_noise(layout, drawn(_parts(noise), layout.values)))
    channel.send({"m": "sum"}, flooded(layout, total.body()))


def _parts(written: Any) -> list[tuple[int, Fraction]]:
    try:
        return [(int(count), Fraction(variance)) for count, variance in written]
    except (TypeError, ValueError, ZeroDivisionError):
        raise InvalidError("`noise` lists counts and variances", field="noise") from None


def _decrypt(channel: Channel, request: Mapping[str, Any]) -> None:
    uploads, written, _ = expect(request, "uploads", "layout", "role")
    layout = Layout.from_json(written)
    with SecretBytes(_body(channel, "key", LARGEST_KEY)) as secret:
        slots = decrypt(layout, secret, _sum(channel, layout, uploads))
    channel.send({"m": "numbers"}, written_numbers(layout, unpack(layout, slots)))


def _decrypt_sum(channel: Channel, request: Mapping[str, Any]) -> None:
    written, _ = expect(request, "layout", "role")
    layout = Layout.from_json(written)
    with SecretBytes(_body(channel, "key", LARGEST_KEY)) as secret:
        slots = decrypt(layout, secret, Sum.of_body(layout, _body(channel, "sum", layout.sum_bytes)))
    channel.send({"m": "numbers"}, written_numbers(layout, unpack(layout, slots)))


def _infer(channel: Channel, request: Mapping[str, Any]) -> None:
    batches, _ = expect(request, "batches", "role")
    model, halvings = _model(channel)
    evaluation = _body(channel, "keys", LARGEST_KEY)
    for _ in range(whole(1, MOST_BATCHES, batches=batches)):
        features = _body(channel, "features", model.shape.request_bytes)
        channel.send({"halvings": halvings, "m": "answer"}, infer(model, evaluation, features))


def _model(channel: Channel) -> tuple[Scored, int]:
    """Layers as they are, or a released model's graph and weights, whose scores are halved until they have room."""
    header, body = channel.receive(MODEL_LIMIT)
    if header == {"m": "model"}:
        return Scored.from_bytes(body), 0
    if header != {"m": "graph"}:
        raise CorruptError("a model is layers, or a graph and its weights")
    graph = ModelGraph.from_bytes(body)
    return Scored.fitting(layers_of(graph, unpack_weights(graph, _body(channel, "weights", WEIGHTS_LIMIT))))


def _ask(channel: Channel, request: Mapping[str, Any]) -> None:
    written, batches, _ = expect(request, "shape", "batches", "role")
    shape = Shape.from_json(written)
    keys = asking(shape)
    channel.send({"m": "secret"}, keys.secret.reveal())
    channel.send({"m": "keys"}, keys.evaluation)
    for _ in range(whole(1, MOST_BATCHES, batches=batches)):
        rows = read_doubles(_body(channel, "rows", 8 * shape.features * shape.profile.slots), shape.features)
        channel.send({"m": "features"}, ask(shape, keys, rows))


def _read(channel: Channel, request: Mapping[str, Any]) -> None:
    written, batches, _ = expect(request, "shape", "batches", "role")
    shape = Shape.from_json(written)
    with SecretBytes(_body(channel, "key", LARGEST_KEY)) as secret:
        for _ in range(whole(1, MOST_BATCHES, batches=batches)):
            body = _body(channel, "answer", shape.answer_bytes)
            found = answers(shape, OwnKeys(secret, b""), body, shape.profile.slots)
            channel.send({"m": "scores"}, written_doubles(found))


def _blind(channel: Channel, request: Mapping[str, Any]) -> None:
    features, rows, _ = expect(request, "features", "rows", "role")
    recipe = BlindRecipe(rows=rows, features=features, epochs=1)
    keys = _body(channel, "keys", recipe.key_bytes)
    worker = BlindWorker(recipe, keys, _body(channel, "data", recipe.data_bytes))
    channel.send({"m": "gradient"}, worker.gradient(_body(channel, "weights", recipe.weights_bytes)))


def _sum(channel: Channel, layout: Layout, uploads: int) -> Sum:
    total, seen = Sum(layout), set()
    for _ in range(uploads):
        body = _body(channel, "upload", layout.upload_bytes)
        total.add(body)
        seen.add(Digest.of(body))
    if len(seen) != uploads:
        raise CorruptError("the same ciphertexts came twice")
    return total


def _body(channel: Channel, name: str, longest: int) -> bytes:
    header, body = channel.receive(longest)
    (found,) = expect(header, "m")
    return body if found == name else b""


_TASKS: Mapping[str, Callable[[Channel, Mapping[str, Any]], None]] = {
    "he-keys": _keys,
    "he-encrypt": _encrypt,
    "he-aggregate": _aggregate,
    "he-add": _add,
    "he-decrypt": _decrypt,
    "he-decrypt-sum": _decrypt_sum,
    "he-ask": _ask,
    "he-infer": _infer,
    "he-read": _read,
    "he-blind": _blind,
}

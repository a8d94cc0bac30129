"""Mutants of ciphertexts and keys, judged and loaded in a process that may die: as a module, it prints what happened.

Each mutant stands where an honest site's upload would, signed or not: it has passed nothing but the code under test.
"""

from __future__ import annotations

import json
import random
import resource
import struct
import sys
from collections import Counter

from kernel.errors import PrivgateError
from privacy.homomorphic.inference import Layer, Scored
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.homomorphic.tenseal_backend.inference import ask, asking, infer
from privacy.homomorphic.validator import require_upload
from tests.support.homomorphic import encrypted, encrypting_key, keys_of, layout_of

_FIXED = 113
"""Bytes before the first coefficient."""


def mutant(source: random.Random, honest: bytes, strangers: list[bytes]) -> bytes:
    """One change of one of several kinds."""
    data = bytearray(honest)
    kind = source.randrange(8)
    if kind == 0:
        data[source.randrange(_FIXED)] = source.randrange(256)
    elif kind == 1:
        for _ in range(source.randint(1, 8)):
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    elif kind == 2:
        del data[source.randrange(len(data)) :]
    elif kind == 3:
        data += source.randbytes(source.randint(1, 64))
    elif kind == 4:
        at = source.randrange(_FIXED - 8)
        number = source.choice([0, 1, 2**31, 2**32, 2**63, 2**64 - 1, source.getrandbits(64)])
        data[at : at + 8] = struct.pack("<Q", number)
    elif kind == 5:
        at = _FIXED + 8 * source.randrange((len(data) - _FIXED) // 8 - 9)
        data[at : at + 8] = struct.pack("<Q", source.choice([2**64 - 1, 2**63, 2**54, 0, source.getrandbits(64)]))
    elif kind == 6:
        at, to, length = (source.randrange(len(data) // 2) for _ in range(3))
        data[at : at + length] = data[to : to + length]
    else:
        stranger = source.choice(strangers)
        at = source.randrange(len(data))
        data[at:] = stranger[at : len(data)]
    return bytes(data)


def judged(layout: Layout, body: bytes, others: list[bytes], others_sum: list[int], own: list[int]) -> str:
    """What becomes of a sum with this upload: `refused`, `right`, `no-sum`, or `WRONG`."""
    total = Sum(layout)
    for other in others:
        total.add(other)
    try:
        total.add(body)
    except PrivgateError:
        return "refused"
    try:
        found = unpack(layout, decrypt(layout, keys_of(layout.profile.name).secret, total))
    except PrivgateError:
        return "no-sum"
    return "right" if found == [a + b for a, b in zip(others_sum, own, strict=True)] else "WRONG"


def of_uploads(name: str, count: int, seed: int) -> Counter[str]:
    """Judge mutants of one site's upload."""
    source = random.Random(seed)
    layout = layout_of(name, values=400, summands=3)
    own = [source.randint(-layout.bound, layout.bound) for _ in range(400)]
    others = [encrypted(layout, [k] * 400) for k in (10, 20)]
    honest = encrypted(layout, own)
    strangers = [encrypted(layout, own, 1), encrypted(layout, [0] * 400), keys_of(name).secret.reveal(), bytes(2**18)]
    strangers = [stranger.ljust(len(honest), b"\0") for stranger in strangers]
    seen: Counter[str] = Counter()
    for _ in range(count):
        body = mutant(source, honest, strangers)
        if body != honest:
            seen[judged(layout, body, others, [30] * 400, own)] += 1
            try:
                require_upload(layout, body)
            except PrivgateError:
                seen["unseen by SEAL"] += 1
    return seen


def of_keys(name: str, count: int, seed: int) -> Counter[str]:
    """Encrypt under mutants of a key: refused, or what comes of it is no sum."""
    source = random.Random(seed)
    layout = layout_of(name, values=50, summands=3)
    key = encrypting_key(layout.profile, keys_of(name))
    slots = pack(layout, [3] * 50)
    others = [encrypted(layout, [k] * 50) for k in (10, 20)]
    seen: Counter[str] = Counter()
    for _ in range(count):
        body = mutant(source, key, [keys_of(name, 1).public.ljust(len(key), b"\0")])
        if body == key:
            continue
        try:
            made = encrypt(layout, body, slots)
        except PrivgateError:
            seen["refused"] += 1
            continue
        seen[judged(layout, made, others, [30] * 50, [3] * 50)] += 1
    return seen


def of_inference(_: str, count: int, seed: int) -> Counter[str]:
    """Evaluate a model under mutants of a client's keys and features: refused, or an answer that is his own affair."""
    source = random.Random(seed)
    model = Scored((Layer(((0.5, -0.5), (0.25, 1.0)), (0.1, 0.2)), Layer(((1.0, -1.0),), (0.0,))))
    keys = asking(model.shape)
    features = ask(model.shape, keys, [[0.1, 0.9], [-0.3, 0.2]])
    seen: Counter[str] = Counter()
    for turn in range(count):
        given = [keys.evaluation, features]
        given[turn % 2] = mutant(source, given[turn % 2], [bytes(len(keys.evaluation)), features.ljust(2**21, b"\1")])
        try:
            infer(model, *given)
            seen["answered"] += 1
        except PrivgateError:
            seen["refused"] += 1
    return seen


def main(what: str, name: str, count: int, seed: int) -> None:
    """Judge mutants within 2 GiB and print what became of how many."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
    print(json.dumps({"uploads": of_uploads, "keys": of_keys, "inference": of_inference}[what](name, count, seed)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

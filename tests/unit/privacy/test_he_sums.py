"""Sums under encryption: exact, under every profile, in this process and in the confined child."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from kernel.errors import CorruptError, InvalidError
from privacy.homomorphic.confined import Confined, FailedTaskError
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.tenseal_backend.aggregate import Sum, aggregate
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.validator import require_sum
from privacy.sealing.secret import SecretBytes
from tests.support.homomorphic import SUMMING, encrypted, encrypting_key, keys_of, layout_of, summed

VECTORS = Path(__file__).parents[2] / "vectors/homomorphic"


def draws(layout: Layout, sites: int) -> list[list[int]]:
    """Numbers up to the bound, the bound among them."""
    source = random.Random(11)
    return [
        [layout.bound, -layout.bound, *(source.randint(-layout.bound, layout.bound) for _ in range(layout.values - 2))]
        for _ in range(sites)
    ]


@pytest.mark.parametrize("name", SUMMING)
def test_a_sum_is_exact(name: str) -> None:
    """As many sites as the layout allows, over more than one group."""
    layout = layout_of(name, values=2 * profile_of(name).slots + 17, summands=4)
    values = draws(layout, 4)
    bodies = [encrypted(layout, one) for one in values]
    assert {len(body) for body in bodies} == {layout.upload_bytes}
    assert summed(layout, bodies) == [sum(column) for column in zip(*values, strict=True)]


@pytest.mark.parametrize("name", SUMMING)
def test_nothing_of_a_value_shows_in_a_ciphertext(name: str) -> None:
    """Two encryptions of the same differ wherever they may."""
    layout = layout_of(name)
    first, second = (encrypted(layout, [5] * 100) for _ in range(2))
    same = sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
    # One byte in 256 agrees by chance, and of each coefficient the bytes beyond its prime.
    assert same < 0.30


def test_known_answers() -> None:
    """Uploads and a key that were made once read as they did: the format holds."""
    known = json.loads((VECTORS / "sum.json").read_text(encoding="utf-8"))
    layout = Layout.from_json(known["layout"])
    data = (VECTORS / "sum.bin").read_bytes()
    length = layout.upload_bytes
    bodies = [data[at : at + length] for at in range(0, 3 * length, length)]
    total = Sum(layout)
    for body in bodies:
        total.add(body)
    assert unpack(layout, decrypt(layout, SecretBytes(data[3 * length :]), total)) == known["sums"]


def test_noise_in_the_clear_is_added_exactly() -> None:
    """What whoever adds puts on top is in the sum, and is no summand."""
    layout = layout_of("bfv-4096-public", values=50, summands=3)
    noised = Layout(profile=layout.profile, values=50, bound=layout.bound, summands=3, tail=900)
    bodies = [encrypted(noised, [100] * 50) for _ in range(3)]
    total = Sum(noised)
    for body in bodies:
        total.add(body)
    noise = [random.Random(3).randint(-900, 900) for _ in range(50)]
    total.add_slots(pack(noised, noise))
    found = unpack(noised, decrypt(noised, keys_of("bfv-4096-public").secret, total))
    assert found == [300 + drawn for drawn in noise]


@pytest.mark.parametrize("uploads", [0, 1, 2])
def test_fewer_than_three_are_not_decrypted(uploads: int) -> None:
    """RULES 39: there is no door to one site's numbers."""
    layout = layout_of("bfv-2048-wide-public")
    with pytest.raises(InvalidError):
        summed(layout, [encrypted(layout, [1] * 100) for _ in range(uploads)])


def test_more_than_the_layout_allows_are_not_added() -> None:
    """The cap of summands is kept where they are added, too."""
    layout = layout_of("bfv-2048-wide-public", summands=3)
    with pytest.raises(InvalidError):
        summed(layout, [encrypted(layout, [1] * 100) for _ in range(4)])


def test_the_same_ciphertexts_are_not_added_twice() -> None:
    """Another site's upload, signed by a site that has nothing of its own to say, would count double."""
    layout = layout_of("bfv-2048-wide-public")
    body, other = (encrypted(layout, [1] * 100) for _ in range(2))
    with pytest.raises(FailedTaskError):
        Confined().aggregate(layout, [body, other, body])


def test_a_sum_travels() -> None:
    """Where the gateway adds: the sum has its own canonical form, and reads back."""
    layout = layout_of("bfv-2048-seeded", summands=3)
    body = aggregate(layout, [encrypted(layout, [k] * 100) for k in (1, 2, 3)])
    require_sum(layout, body)
    total = Sum.of_body(layout, body)
    assert unpack(layout, decrypt(layout, keys_of("bfv-2048-seeded").secret, total)) == [6] * 100


@pytest.mark.parametrize("name", ["bfv-4096-public", "bfv-2048-wide-seeded"])
def test_the_confined_child_does_the_same(name: str) -> None:
    """Keys, three uploads, their sum: each in a child of its own, nothing but bytes in between."""
    confined, layout = Confined(), layout_of(name, values=300, summands=3)
    public, secret = confined.make_keys(layout.profile)
    key = secret.reveal() if layout.profile.mode.value == "seeded" else public
    values = draws(layout, 3)
    bodies = [confined.encrypt(layout, key, one) for one in values]
    assert confined.decrypt(layout, secret, bodies) == [sum(column) for column in zip(*values, strict=True)]
    require_sum(layout, confined.aggregate(layout, bodies))


def test_what_kills_the_child_is_a_failed_task() -> None:
    """Hostile coefficients, a wrong key, values that do not fit, two uploads: one error, and the parent lives on."""
    confined, layout = Confined(), layout_of("bfv-2048-wide-public", summands=3)
    pair = keys_of("bfv-2048-wide-public")
    body, second, third = (encrypted(layout, [1] * 100) for _ in range(3))
    beyond = body[:200] + b"\xff" * 800 + body[1000:]
    for bodies in ([body, second, beyond], [body, second], [body, second, body]):
        with pytest.raises(FailedTaskError):
            confined.decrypt(layout, pair.secret, bodies)
    with pytest.raises(FailedTaskError):
        confined.encrypt(layout, pair.public[:-1], [1] * 100)
    with pytest.raises(FailedTaskError):
        confined.encrypt(layout, pair.public, [2**62] * 100)
    assert confined.decrypt(layout, pair.secret, [body, second, third]) == [3] * 100


def test_a_child_that_runs_out_of_memory_is_a_failed_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its limits are declared before it reads anything; the parent lives on."""
    monkeypatch.setattr("privacy.homomorphic.confined._MEMORY", 96 * 2**20)
    with pytest.raises(FailedTaskError):
        Confined().make_keys(profile_of("bfv-8192-public"))


def test_another_key_is_found_out() -> None:
    """What decrypts to no sum of such uploads is an error, not a result."""
    layout = layout_of("bfv-4096-public")
    bodies = [encrypted(layout, [1] * 100, which) for which in (0, 0, 1)]
    with pytest.raises(CorruptError):
        summed(layout, bodies)
    assert encrypting_key(layout.profile, keys_of("bfv-4096-public", 1)) != keys_of("bfv-4096-public").public

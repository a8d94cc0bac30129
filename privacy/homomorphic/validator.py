"""What may be handed to SEAL: judged byte by byte before it is, in plain Python.

Rules
-----
1. Lengths first: a body is exactly as long as its profile and layout say, so that nothing is allocated for a lie.
2. Then every fixed byte (`wire`): magic, version, no compression, parameters, domain, size, scale, generator.
3. A ciphertext whose second half is zero would be its own plaintext, and is refused.
4. An object of another kind has another length or other fixed bytes: a secret key never passes for a ciphertext.
   `holds_secret_key` finds one anywhere in a body, so that who carries it can say so and destroy it.
5. Whether coefficients lie below their primes, SEAL's own reader decides, in the confined child.
6. One sentence for every failure: nothing tells which byte was wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernel.errors import CorruptError
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import PROFILES
from privacy.homomorphic.wire import Form, ciphertext_form, evaluation_forms, public_key_form, secret_key_form

_SENTENCE = "not the ciphertexts that this layout and profile describe"


def require_upload(layout: Layout, body: bytes) -> None:
    """Return if `body` may be one site's ciphertexts; raise `CorruptError` otherwise."""
    _require(layout, body, fresh=True)


def require_sum(layout: Layout, body: bytes) -> None:
    """Return if `body` may be a sum of uploads; raise `CorruptError` otherwise."""
    _require(layout, body, fresh=False)


def require_public_key(profile: Profile, body: bytes) -> None:
    """Return if `body` may be a public key under this profile; raise `CorruptError` otherwise."""
    forms = [public_key_form(profile, instance) for instance in range(profile.instances)]
    if not all(form.matches(piece) and is_masked(form, piece) for form, piece in pieces(forms, body)):
        raise CorruptError("not a public key of this profile")


def require_secret_key(profile: Profile, body: bytes) -> None:
    """Return if `body` may be a secret key under this profile; raise `CorruptError` otherwise."""
    forms = [secret_key_form(profile, instance) for instance in range(profile.instances)]
    if not all(form.matches(piece) for form, piece in pieces(forms, body)):
        raise CorruptError("not a secret key of this profile")


def require_vectors(profile: Profile, body: bytes, count: int) -> None:
    """Return if `body` may be so many fresh CKKS ciphertexts; raise `CorruptError` otherwise."""
    forms = [ciphertext_form(profile, 0, fresh=True)] * count
    if not all(form.matches(piece) and is_masked(form, piece) for form, piece in pieces(forms, body)):
        raise CorruptError(_SENTENCE)


def require_evaluation_keys(profile: Profile, body: bytes, rotations: tuple[int, ...], *, products: bool) -> None:
    """Return if `body` may be these evaluation keys; raise `CorruptError` otherwise."""
    forms = list(evaluation_forms(profile, rotations, products=products))
    if not all(form.matches(piece) for form, piece in pieces(forms, body)):
        raise CorruptError("not the evaluation keys that were announced")


def holds_secret_key(body: bytes) -> bool:
    """Whether a secret key of any profile lies anywhere in `body`, whatever is around it."""
    marks = {
        secret_key_form(profile, instance).prefix[16:56]
        for profile in PROFILES.values()
        for instance in range(profile.instances)
    }
    return any(mark in body for mark in marks)


def pieces(forms: list[Form], body: bytes) -> Iterator[tuple[Form, memoryview]]:
    """Cut `body` into objects of these forms; raise `CorruptError` if it is not exactly as long as they are."""
    if len(body) != sum(form.size for form in forms):
        raise CorruptError(_SENTENCE)
    view, start = memoryview(body), 0
    for form in forms:
        yield form, view[start : start + form.size]
        start += form.size


def upload_forms(layout: Layout, *, fresh: bool) -> list[Form]:
    """The forms of a body's ciphertexts, in order."""
    one = [ciphertext_form(layout.profile, instance, fresh=fresh) for instance in range(layout.profile.instances)]
    return one * layout.groups


def _require(layout: Layout, body: bytes, *, fresh: bool) -> None:
    for form, piece in pieces(upload_forms(layout, fresh=fresh), body):
        if not form.matches(piece) or not is_masked(form, piece):
            raise CorruptError(_SENTENCE)


def is_masked(form: Form, piece: bytes | memoryview) -> bool:
    """Whether a ciphertext of this form hides anything: its second half, or what draws it, is not all zero."""
    if form.seed:
        return any(piece[-form.seed :])
    content = form.content(piece)
    return any(content[len(content) // 2 :])

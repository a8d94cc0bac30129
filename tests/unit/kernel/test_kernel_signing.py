"""Ed25519 keys and DSSE envelopes."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.signing import (
    Ed25519Signer,
    Envelope,
    PublicKey,
    Signature,
    open_envelope,
    pre_authentication,
    sign_envelope,
    unbase64,
)

KIND = "application/vnd.in-toto+json"
SIGNER, OTHER = Ed25519Signer(b"a" * 32), Ed25519Signer(b"b" * 32)

# RFC 8032, section 7.1, tests 1 to 3.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS, ids=["1", "2", "3"])
def test_the_published_signatures(seed: str, public: str, message: str, signature: str) -> None:
    """Key, message and signature of RFC 8032."""
    signer = Ed25519Signer(bytes.fromhex(seed))
    assert signer.public_key.raw.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    signer.public_key.verify(bytes.fromhex(signature), bytes.fromhex(message))


def test_the_published_pre_authentication_encoding() -> None:
    """The example of the DSSE protocol."""
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_an_envelope_is_opened_by_a_trusted_key() -> None:
    """One of several signers is enough; the bytes survive the way through JSON."""
    envelope = Envelope.from_bytes(sign_envelope(KIND, b"payload", SIGNER, OTHER).to_bytes())
    for trusted in ([SIGNER.public_key], [OTHER.public_key], [OTHER.public_key, SIGNER.public_key]):
        assert open_envelope(envelope, KIND, trusted) == b"payload"
    body = json.loads(envelope.to_bytes())
    assert set(body) == {"payload", "payloadType", "signatures"}
    assert {s["keyid"] for s in body["signatures"]} == {SIGNER.public_key.key_id, OTHER.public_key.key_id}


def test_an_envelope_is_opened_by_nothing_else() -> None:
    """Another key, another type, another payload, another signature: each is refused."""
    envelope = sign_envelope(KIND, b"payload", SIGNER)
    (signature,) = envelope.signatures
    for opened, kind, trusted in (
        (envelope, KIND, []),
        (envelope, KIND, [OTHER.public_key]),
        (envelope, "text/plain", [SIGNER.public_key]),
        (replace(envelope, payload_type="text/plain"), "text/plain", [SIGNER.public_key]),
        (replace(envelope, payload=b"payloae"), KIND, [SIGNER.public_key]),
        (replace(envelope, signatures=(replace(signature, value=bytes(64)),)), KIND, [SIGNER.public_key]),
        (replace(envelope, signatures=(replace(signature, value=b""),)), KIND, [SIGNER.public_key]),
        (
            replace(envelope, signatures=(Signature(SIGNER.public_key.key_id, OTHER.sign(b"x")),)),
            KIND,
            [SIGNER.public_key],
        ),
    ):
        with pytest.raises(CorruptError):
            open_envelope(opened, kind, trusted)


def test_type_and_payload_cannot_run_into_each_other() -> None:
    """The same bytes cut elsewhere are another message."""
    assert pre_authentication("ab", b"c") != pre_authentication("a", b"bc")


@settings(max_examples=300)
@given(st.data())
def test_no_edited_envelope_opens(data: st.DataObject) -> None:
    """Bytes of the JSON edited anywhere: refused, or the same payload under the same type."""
    written = bytearray(sign_envelope(KIND, b"payload", SIGNER).to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    try:
        envelope = Envelope.from_bytes(bytes(written))
        assert open_envelope(envelope, KIND, [SIGNER.public_key]) == b"payload"
    except PrivgateError:
        pass


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"payload": "", "payloadType": KIND},
        {"payload": "", "payloadType": KIND, "signatures": []},
        {"payload": "", "payloadType": KIND, "signatures": [{}]},
        {"payload": "", "payloadType": KIND, "signatures": 7},
        {"payload": "!", "payloadType": KIND, "signatures": [{"keyid": "", "sig": ""}]},
        {"payload": 1, "payloadType": KIND, "signatures": [{"keyid": "", "sig": ""}]},
        {"payload": "", "payloadType": "", "signatures": [{"keyid": "", "sig": ""}]},
        {"payload": "", "payloadType": 1, "signatures": [{"keyid": "", "sig": ""}]},
    ],
    ids=repr,
)
def test_what_is_not_an_envelope_is_refused(body: object) -> None:
    """Missing members, wrong kinds, bad base64."""
    with pytest.raises(InvalidError):
        Envelope.from_bytes(canonical.encode(body))


def test_keys_are_written_and_read() -> None:
    """32 bytes, in strict base64; the id is the digest of the raw key."""
    key = SIGNER.public_key
    assert PublicKey.parse(key.written()) == key
    assert len(key.key_id) == 64
    for wrong in ("", "AAAA", key.written()[:-1], key.written() + "\n", " " + key.written()):
        with pytest.raises(InvalidError):
            PublicKey.parse(wrong)


def test_a_private_key_does_not_leak() -> None:
    """It is not in its representation, and it is never pickled or copied."""
    assert "YWFh" not in repr(SIGNER)
    assert "6161" not in repr(SIGNER)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(SIGNER)


@given(st.binary(max_size=40))
def test_base64_has_one_spelling(data: bytes) -> None:
    """Padding is needed, stray bits, line breaks and the other alphabet are refused."""
    written = base64.b64encode(data).decode()
    assert unbase64(written, "field") == data
    for other in (
        written + "=",
        written + "\n",
        written.rstrip("=") if "=" in written else written + "A",
        "-_" + written,
    ):
        with pytest.raises(InvalidError):
            unbase64(other, "field")
    if written.endswith("="):
        body = written.rstrip("=")
        stray = body[:-1] + chr(ord(body[-1]) + 1) + "=" * (len(written) - len(body))
        with pytest.raises(InvalidError):
            unbase64(stray, "field")

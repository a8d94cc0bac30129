"""Keyed commitments: personal data in the log, without being in it."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from audit.commitments import check, commit
from kernel.errors import CorruptError, InvalidError
from kernel.events import Commitment

KEY = b"k" * 32


def test_a_commitment_is_the_documented_hmac() -> None:
    """HMAC-SHA256 over tag, label and value, each separated by a zero byte."""
    message = b"privgate/commitment/v1\x00principal-name\x00" + "Zoë".encode()
    expected = hmac.new(KEY, message, hashlib.sha256).hexdigest()
    assert commit(KEY, "principal-name", "Zoë") == Commitment("sha256:" + expected)


def test_only_the_same_value_label_and_key_pass_the_check() -> None:
    """Without the key nobody can test a guess; a label is no synonym of another."""
    commitment = commit(KEY, "reason", "treatment ended")
    check(commitment, KEY, "reason", "treatment ended")
    for key, label, value in (
        (b"x" * 32, "reason", "treatment ended"),
        (KEY, "name", "treatment ended"),
        (KEY, "reason", "Treatment ended"),
        (KEY, "reason", ""),
    ):
        with pytest.raises(CorruptError):
            check(commitment, key, label, value)


def test_keys_and_labels_are_checked() -> None:
    """A short key or a label that could run into the value is refused."""
    for key, label in ((b"short", "reason"), (KEY, ""), (KEY, "a\x00b"), (KEY, "Reason"), (KEY, "x" * 64)):
        with pytest.raises(InvalidError):
            commit(key, label, "value")

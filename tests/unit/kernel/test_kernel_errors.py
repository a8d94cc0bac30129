"""Errors: a closed set of kinds, each with its class."""

from __future__ import annotations

import inspect

from kernel import errors
from kernel.errors import Kind, PrivgateError

CLASSES = [
    c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, PrivgateError) and c is not PrivgateError
]


def test_no_two_classes_share_a_kind() -> None:
    """So that the edge can map kinds to statuses once."""
    kinds = [c.kind for c in CLASSES]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) <= set(Kind)


def test_an_error_carries_its_sentence_and_its_field() -> None:
    """As data, not only as text."""
    for kind in CLASSES:
        error = kind("say what to set", field="setting")
        assert (str(error), error.message, error.field) == ("say what to set", "say what to set", "setting")
    assert PrivgateError("x").field is None

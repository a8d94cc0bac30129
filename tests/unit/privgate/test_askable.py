"""Rows that a model cannot be asked about are refused by their columns' names, before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kernel.errors import InvalidError
from privacy.jobs.features import FeatureSpec
from privacy.schema import TableSchema
from privgate.sdk.askable import encoded_rows
from tests.support.inference import FEATURES, SCHEMA

TERMS = FeatureSpec.from_json(FEATURES), TableSchema.from_json(SCHEMA)


@pytest.mark.parametrize(
    ("row", "missing"),
    [({"age": 4242, "Sex": "male"}, "the column `sex`"), ({"name": "4242"}, "the columns `age`, `sex`")],
)
def test_columns_that_no_row_has_are_named_and_no_value_is(row: Mapping[str, Any], missing: str) -> None:
    """All of them at once; a name is compared as it is written."""
    with pytest.raises(InvalidError, match=missing) as refused:
        encoded_rows(*TERMS, [row, row])
    assert refused.value.field == "rows"
    assert "4242" not in str(refused.value)


def test_rows_of_which_none_can_be_scored_are_refused() -> None:
    """Values are missing or unlisted in each; the sentence has none of them."""
    with pytest.raises(InvalidError, match="none of the rows") as refused:
        encoded_rows(*TERMS, [{"age": "", "sex": "male"}, {"age": 7, "sex": "4242"}])
    assert "4242" not in str(refused.value)


def test_rows_that_can_be_scored_keep_their_places() -> None:
    """One that cannot is passed over; a column may be absent in some rows, as in JSON Lines."""
    found = encoded_rows(*TERMS, [{"age": 50}, {"age": 50, "sex": "male"}])
    assert found == [(1, [0.0, 0.0, 1.0])]

"""Feature specs: what they say, what follows when nothing is said, and errors that name the column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel.errors import InvalidError, TooLargeError
from privacy.jobs.features import FeatureSpec, Transform, default_features
from privacy.jobs.labels import Encoding
from privacy.schema import TableSchema
from privacy.training.preflight import schema_rows
from privacy.training.rows import RowEncoder, encode_columns

DOCUMENT = Path(__file__).parents[3] / "docs/formats/features.md"
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "id", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "20", "high": "60"},
            {"name": "gain", "kind": "numeric", "low": "0", "high": "99999"},
            {"name": "sex", "kind": "categorical", "categories": ["F", "M"]},
            {"name": "stage", "kind": "ordinal", "categories": ["i", "ii", "iii"]},
            {"name": "one", "kind": "ordinal", "categories": ["only"]},
            {"name": "smoker", "kind": "boolean"},
            {"name": "scan", "kind": "tensor", "shape": [2, 2], "low": "0", "high": "255"},
            {"name": "income", "kind": "categorical", "categories": ["<=50K", ">50K"]},
            {"name": "town", "kind": "categorical", "categories": ["a", "b", "c"]},
        ]
    }
)
LABEL = {"column": "income", "encoding": "positive", "category": ">50K"}


def _spec(*columns: dict[str, Any], label: dict[str, Any] = LABEL, **more: Any) -> FeatureSpec:
    spec = FeatureSpec.from_json({"v": 1, "columns": list(columns), "label": label, **more})
    spec.check(SCHEMA)
    return spec


def _encoded(spec: FeatureSpec, **columns: list[Any]) -> tuple[list[list[float]], list[float]]:
    count = len(next(iter(columns.values())))
    filled = {"income": [">50K"] * count} | columns
    rows = encode_columns(RowEncoder(spec, SCHEMA), filled)
    return rows.features.tolist(), rows.targets.tolist()


def test_the_documents_example_reads() -> None:
    """And is written back as it stands."""
    body = json.loads(DOCUMENT.read_text(encoding="utf-8").partition("```json\n")[2].partition("\n```")[0])
    assert FeatureSpec.from_json(body).to_json() == body
    assert FeatureSpec.from_json(body).digest == FeatureSpec.from_json(body).digest


def test_transforms_do_what_the_format_says() -> None:
    """Each at its bounds, in the middle, and beyond."""
    scale = _encoded(_spec({"column": "age", "transform": "scale"}), age=[20, 40, 60, 99, -5])[0]
    assert scale == [[-1], [0], [1], [1], [-1]]
    log = np.array(_encoded(_spec({"column": "gain", "transform": "log"}), gain=[0.0, 99999.0, 315.2278])[0])[:, 0]
    assert np.allclose(log, [-1, 1, 0], atol=1e-3)
    bins = {"column": "age", "transform": "bins", "edges": ["30", "40"]}
    assert _encoded(_spec(bins), age=[29.9, 30, 39.9, 40])[0] == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert _encoded(_spec({"column": "sex", "transform": "one-hot"}), sex=["M", "F"])[0] == [[0, 1], [1, 0]]
    assert _encoded(_spec({"column": "stage", "transform": "ordinal"}), stage=["i", "ii", "iii"])[0] == [[-1], [0], [1]]
    assert _encoded(_spec({"column": "one", "transform": "ordinal"}), one=["only"])[0] == [[0]]
    assert _encoded(_spec({"column": "smoker", "transform": "boolean"}), smoker=[True, False])[0] == [[1], [-1]]
    scan = _encoded(_spec({"column": "scan", "transform": "scale"}), scan=[[0.0, 255.0, 127.5, 300.0]])[0]
    assert scan == [[-1, 1, 0, 1]]


def test_labels_do_what_the_format_says() -> None:
    """Positive, threshold and scaled; a missing one makes the row dead."""
    feature = {"column": "smoker", "transform": "boolean"}
    smokers = {"smoker": [True, True, True]}
    assert _encoded(_spec(feature), **smokers, income=[">50K", "<=50K", None])[1] == [1, 0, 0]
    above = {"column": "age", "encoding": "threshold", "above": "40"}
    assert _encoded(_spec(feature, label=above), **smokers, age=[40, 41, None])[1] == [0, 1, 0]
    scaled = {"column": "age", "encoding": "scaled", "low": "30", "high": "50"}
    assert _encoded(_spec(feature, label=scaled), **smokers, age=[20, 40, 50])[1] == [-1, 0, 1]


def test_a_row_longer_than_the_norm_is_shortened() -> None:
    """To the bound exactly, and shorter rows stay."""
    spec = _spec({"column": "scan", "transform": "scale"}, row_norm="1")
    rows = np.array(_encoded(spec, scan=[[255.0] * 4, [127.5, 127.5, 127.5, 160.0]])[0])
    assert np.linalg.norm(rows, axis=1)[0] == pytest.approx(1, rel=1e-6)
    assert rows[1][3] == pytest.approx(2 * 160 / 255 - 1, rel=1e-6)


def test_tensors_of_a_wrong_length_are_dead() -> None:
    """One cell too few, too many, none or missing; the others are not shifted."""
    cells = pa.array([[0.0] * 4, [0.0] * 3, [255.0] * 5, [], None, [255.0] * 4], pa.list_(pa.float64()))
    encoder = RowEncoder(_spec({"column": "scan", "transform": "scale"}), SCHEMA)
    rows = encode_columns(encoder, {"scan": cells, "income": [">50K"] * 6})
    assert rows.alive.tolist() == [True, False, False, False, False, True]
    assert rows.features[-1].tolist() == [1] * 4


def test_defaults_follow_from_the_schema() -> None:
    """Every column that is no identifier and not the label; log where numbers span magnitudes."""
    spec = default_features(SCHEMA, "income")
    assert {feature.column: feature.transform for feature in spec.columns} == {
        "age": Transform.SCALE,
        "gain": Transform.LOG,
        "sex": Transform.ONE_HOT,
        "stage": Transform.ORDINAL,
        "one": Transform.ORDINAL,
        "smoker": Transform.BOOLEAN,
        "scan": Transform.SCALE,
        "town": Transform.ONE_HOT,
    }
    assert spec.label.category == ">50K"
    assert spec.width(SCHEMA) == 1 + 1 + 2 + 1 + 1 + 1 + 4 + 3
    assert default_features(SCHEMA, "age").label.encoding is Encoding.SCALED
    assert default_features(SCHEMA, "smoker").label.category == "true"


def test_made_up_rows_are_what_the_schema_allows() -> None:
    """The rehearsal's rows all are alive, within bounds, and different each time."""
    encoder = RowEncoder(default_features(SCHEMA, "income"), SCHEMA)
    one, two = (encoder.encode(schema_rows(SCHEMA, encoder.needs, 50)) for _ in range(2))
    assert one.alive.all()
    assert np.abs(one.features).max() <= 1
    assert not (one.features == two.features).all()


@pytest.mark.parametrize(
    ("columns", "label", "field"),
    [
        ([{"column": "id", "transform": "one-hot"}], LABEL, "id"),
        ([{"column": "sex", "transform": "scale"}], LABEL, "sex"),
        ([{"column": "age", "transform": "one-hot"}], LABEL, "age"),
        ([{"column": "age", "transform": "scale", "low": "60"}], LABEL, "age"),
        ([{"column": "age", "transform": "scale", "low": "5", "high": "5"}], LABEL, "age"),
        ([{"column": "sex", "transform": "one-hot", "low": "1"}], LABEL, "sex"),
        ([{"column": "age", "transform": "bins"}], LABEL, "age"),
        ([{"column": "age", "transform": "bins", "edges": ["3", "2"]}], LABEL, "age"),
        ([{"column": "age", "transform": "bins", "edges": "12"}], LABEL, "edges"),
        ([{"column": "age", "transform": "code"}], LABEL, "transform"),
        ([{"column": "age", "transform": "scale", "mean": "1"}], LABEL, "columns"),
        ([{"column": "income", "transform": "one-hot"}], LABEL, "income"),
        ([{"column": "age", "transform": "scale"}] * 2, LABEL, "columns"),
        ([], LABEL, "columns"),
        ([{"column": "age", "transform": "scale"}], LABEL | {"category": "other"}, "income"),
        ([{"column": "age", "transform": "scale"}], {"column": "income", "encoding": "positive"}, "income"),
        ([{"column": "age", "transform": "scale"}], {"column": "income", "encoding": "scaled"}, "income"),
        ([{"column": "age", "transform": "scale"}], {"column": "gain", "encoding": "threshold"}, "gain"),
        ([{"column": "age", "transform": "scale"}], {"column": "id", "encoding": "scaled"}, "id"),
        ([{"column": "age", "transform": "scale"}], {"column": "town", "encoding": "mean"}, "encoding"),
    ],
)
def test_what_does_not_fit_names_its_column(columns: list[Any], label: dict[str, Any], field: str) -> None:
    """An identifier as a feature, the label as a feature, a transform of another kind, bounds that do not rise."""
    with pytest.raises(InvalidError) as error:
        _spec(*columns, label=label)
    assert error.value.field == field


def test_a_row_of_too_many_numbers_is_refused() -> None:
    """Before anything is allocated."""
    wide = TableSchema.from_json(
        {
            "columns": [
                {"name": "scan", "kind": "tensor", "shape": [300, 300], "low": "0", "high": "1"},
                {"name": "y", "kind": "boolean"},
            ]
        }
    )
    with pytest.raises(TooLargeError):
        default_features(wide, "y")

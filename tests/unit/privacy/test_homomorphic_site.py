"""The child at a site: its own minimum of persons holds for every cell, whatever the order says."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.events import Parameter
from kernel.ids import Slug
from privacy.glm.families import Family
from privacy.homomorphic.glm.noised import NoisedGlm, asked_json
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.steps import State, ask_json
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.site.assignment import ROLE, Answer, SiteAssignment
from privacy.homomorphic.site.runner import main
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.tenseal_backend.keys import make_keys
from privacy.ingest.formats import UploadFormat
from privacy.jobs.asking import complete_query
from privacy.jobs.glm_spec import features_of_short
from privacy.sandbox.frames import Channel
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, Rows
from privacy.units import PrivacyUnit

PROFILE = profile_of("bfv-2048-wide-public")
PEOPLE = TableSchema.from_json(
    {
        "columns": [
            {"name": "age", "kind": "numeric", "low": "0", "high": "100"},
            {"name": "ill", "kind": "boolean"},
        ]
    }
)
FIRST = ask_json(State.first())
SCHEMA = TableSchema.from_json({"columns": [{"name": "sex", "kind": "categorical", "categories": ["female", "male"]}]})


def assignment(file: Path, least_persons: int) -> SiteAssignment:
    """A histogram, by an order that asks for five persons in a cell."""
    queries = complete_query({"kind": "histogram", "columns": ["sex"]}, SCHEMA)
    plan = FederatedStatistics(queries=tuple(queries), covariances=(), schema=SCHEMA, least_persons=5)
    return SiteAssignment(
        file=str(file),
        format=UploadFormat.of("csv"),
        schema=SCHEMA,
        unit=PrivacyUnit.from_json({"kind": "record", "noun": "patient"}),
        kind=Slug("he.statistics"),
        plan=plan.to_json(),
        state={},
        layout=plan.layout(PROFILE, 3),
        least_persons=least_persons,
        place=0,
    )


def said(given: SiteAssignment) -> str:
    """What the child answers."""
    (ours, their_end), (theirs, our_end) = os.pipe(), os.pipe()
    channel, their = Channel(ours, our_end), Channel(theirs, their_end)
    thread = threading.Thread(target=main, args=(their, {"role": ROLE}))
    thread.start()
    try:
        channel.send({"m": "assignment"}, given.to_bytes())
        channel.send({"m": "key"}, make_keys(PROFILE).public)
        header, _ = channel.receive(2**26)
        return str(header["m"])
    finally:
        thread.join()
        channel.close()
        their.close()


@pytest.mark.parametrize(("least_persons", "answer"), [(5, Answer.UPLOAD), (7, Answer.UPLOAD), (8, Answer.FEW)])
def test_the_sites_own_minimum_holds_for_cells(tmp_path: Path, least_persons: int, answer: Answer) -> None:
    """Seven men of twenty-seven people: enough for the order, too few for a site that wants eight."""
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["sex", *["female"] * 20, *["male"] * 7]) + "\n", encoding="utf-8")
    assert said(assignment(file, least_persons)) == answer.value


def test_with_noise_everybody_in_the_file_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked: else a question that few rows have an answer to would tell by a refusal that they are few."""
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["age,ill", *[f"{age},true" for age in range(40)]]) + "\n", encoding="utf-8")
    encode = RowEncoder.encode

    def few(encoder: RowEncoder, table: Any) -> Rows:
        rows = encode(encoder, table)
        return replace(rows, alive=np.arange(len(rows.alive)) < 3)

    monkeypatch.setattr(RowEncoder, "encode", few)
    columns = {"kind": "he.glm", "family": "logistic", "outcome": "ill", "predictors": ["age"]}
    features = features_of_short(columns, Family.LOGISTIC, PEOPLE)
    noise = SiteNoise(sites=3, tolerated=1, noise_multiplier=Parameter("2"))
    noised = NoisedGlm(family=Family.LOGISTIC, features=features, schema=PEOPLE, noise=noise)
    exact = ExactGlm(family=Family.LOGISTIC, features=features, schema=PEOPLE)
    for plan, state, answer in ((noised, asked_json({}), Answer.UPLOAD), (exact, FIRST, Answer.FEW)):
        given = replace(
            assignment(file, 5), schema=PEOPLE, kind=Slug("he.glm"), plan=plan.to_json(), state=state,
            layout=plan.layout(PROFILE, 3),
        )  # fmt: skip
        assert said(given) == answer.value

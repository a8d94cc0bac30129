"""Results of sites on screen and for machines: exact and noised files, as people read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.glm.families import Family
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.glm.noised import NoisedGlm, advance, asked_json, is_whole, noised_glm_bytes
from privacy.homomorphic.glm.noised_sums import noised_cases, noised_site_sums
from privacy.homomorphic.glm.report import glm_bytes
from privacy.homomorphic.glm.steps import Unfit, Why
from privacy.homomorphic.noise import NoiseBy, SiteNoise
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import reaches, statistics_bytes
from privacy.homomorphic.statistics.sums import site_sums
from privacy.jobs.asking import complete_query
from privacy.jobs.glm_spec import complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, encode_columns
from privgate.cli.app import app
from privgate.site_results import SitesStatistics, glm_of, statistics_of
from tests.support import federated

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "age", "kind": "numeric", "low": "0", "high": "100", "clamp": True},
            {"name": "weight", "kind": "numeric", "low": "30", "high": "150", "clamp": True},
            {"name": "sex", "kind": "categorical", "categories": ["female", "male"]},
        ]
    }
)
BY_SITES = SiteNoise(sites=4, tolerated=1, noise_multiplier=Parameter("3"))
BY_TWO = SiteNoise(
    sites=4, tolerated=0, noise_multiplier=Parameter("3"),
    by=NoiseBy.GATEWAY_AND_KEY_HOLDER, aggregation=Aggregation.GATEWAY,
)  # fmt: skip
QUERIES: tuple[dict[str, Any], ...] = (
    {"kind": "count"},
    {"kind": "mean", "column": "age", "by": ["sex"]},
    {"kind": "quantiles", "column": "age", "at": ["0.5"]},
)


def statistics(noise: SiteNoise | None, people: int = 200) -> bytes:
    """A released file of four sites."""
    queries = tuple(query for body in QUERIES for query in complete_query(body, SCHEMA))
    plan = FederatedStatistics(queries=queries, covariances=(("age", "weight"),), schema=SCHEMA, noise=noise)
    source = np.random.default_rng(1)
    ages = source.choice([20.0, 40.0, 60.0, 80.0], (4, people))
    tables = [pa.table({"age": age, "weight": 40 + age, "sex": ["female", "male"] * (people // 2)}) for age in ages]
    plain = FederatedStatistics(queries=queries, covariances=plan.covariances, schema=SCHEMA, least_persons=5)
    sums = [sum(numbers) for numbers in zip(*(site_sums(plain, table) for table in tables), strict=True)]
    steps = [plan.refinement(vector) for vector in plan.vectors for _ in range(vector.cells)]
    return statistics_bytes(plan, [number * step for number, step in zip(sums, steps, strict=True)], 4)


def noised_model(multiplier: str) -> bytes:
    """A logistic model of four sites of 800, each with its share of the noise."""
    asked = {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": "1"}
    spec = complete_glm(asked | {"family": "logistic", "outcome": "sex", "predictors": ["age"]}, SCHEMA)
    noise = SiteNoise(sites=4, tolerated=1, noise_multiplier=Parameter(multiplier))
    plan = NoisedGlm(family=Family.LOGISTIC, features=spec.features, schema=SCHEMA, noise=noise)
    source, cases = np.random.default_rng(2), []
    for _ in range(4):
        age = source.uniform(0, 100, 800)
        columns = {"age": pa.array(age), "sex": pa.array(np.where(source.uniform(0, 100, 800) < age, "male", "female"))}
        rows = encode_columns(RowEncoder(plan.features, plan.schema), columns)
        cases.append(noised_cases(plan, rows, np.arange(800, dtype=np.int64)))
    sums: dict[str, tuple[int, ...]] = {}
    while not is_whole(plan, sums):
        uploads = [noised_site_sums(plan, asked_json(sums), one) for one in cases]
        sums = dict(advance(plan, sums, [sum(numbers) for numbers in zip(*uploads, strict=True)]))
    return noised_glm_bytes(plan, sums, 4)


def exact_model() -> bytes:
    """A logistic model of four sites without noise."""
    plan = federated.plan_for("logistic")
    fit = federated.run(plan, federated.parts(plan, *federated.drawn("logistic")))
    return glm_bytes(plan, fit, 4)


def shown(folder: Path, command: str, data: bytes, *flags: str) -> Result:
    """What a command says of a fetched file."""
    path = folder / "result.json"
    path.write_bytes(data)
    done = CliRunner().invoke(app, [command, "show", str(path), *flags])
    assert done.exit_code == 0, done.output
    return done


def cells(told: Result, name: str) -> list[str]:
    """The cells of the line that begins with a name."""
    return next(line.split() for line in told.stdout.splitlines() if line.split()[:1] == [name])


def test_an_exact_model_is_shown_as_exact_without_a_word_of_noise_in_its_table(tmp_path: Path) -> None:
    """Every line with its error, interval and ratio; the remark says that no noise was added."""
    data = exact_model()
    told, body = shown(tmp_path, "glm", data), json.loads(data)
    assert told.stdout.startswith("logistic model of y, 900 rows of 4 sites")
    for line in body["table"]:
        figures = [line[name] for name in ("coefficient", "standard_error", "low", "high")]
        assert cells(told, line["term"])[1:5] == figures
    assert "noise" not in told.stdout
    assert "exact: no noise was added" in told.stderr
    read = json.loads(shown(tmp_path, "glm", data, "--json").stdout)
    assert (read["table"], read["rows"], read["sites"]) == (body["table"], 900, 4)
    assert "points" not in read


def test_a_noised_model_says_whose_noise_it_has_and_how_much_of_each_error_it_is(tmp_path: Path) -> None:
    """As of an ordinary one, with the part of the noise; for machines without the sums."""
    data = noised_model("1")
    told, body = shown(tmp_path, "glm", data), json.loads(data)
    assert "people or records of 4 sites" in told.stdout
    for line in body["table"]:
        assert cells(told, line["term"])[-1] == f"{float(line['noise_share']):.0%}"
    assert "every site added its share of the noise" in " ".join(told.stderr.split())
    read = json.loads(shown(tmp_path, "glm", data, "--json").stdout)
    assert read["table"] == body["table"]
    assert "sums" not in read


def test_a_model_without_a_fit_says_why(tmp_path: Path) -> None:
    """Drowned by noise, singular, or unfinished: never an empty table."""
    assert "drowned" in shown(tmp_path, "glm", noised_model("3000")).stderr
    plan = federated.plan_for("linear")
    for why, word in ((Why.SINGULAR, "no fit"), (Why.UNFINISHED, "still moved")):
        assert word in shown(tmp_path, "glm", glm_bytes(plan, Unfit(why=why, rounds=1, points=()), 4)).stderr


def test_exact_statistics_have_values_and_no_interval(tmp_path: Path) -> None:
    """Counts, means, quantiles, and a covariance as a matrix."""
    data = statistics(None)
    told, body = shown(tmp_path, "statistics", data), json.loads(data)
    assert cells(told, "800") == ["800", "-", "-", "-"]
    assert cells(told, "male") == ["male", body["answers"][1]["values"][1], "-", "-", "-"]
    (together,) = body["covariances"]
    for name, mean, line in zip(together["columns"], together["means"], together["covariance"], strict=True):
        assert cells(told, name) == [name, mean, *line]
    assert "exact: no noise was added" in told.stderr
    assert "no intervals" in told.stderr


@pytest.mark.parametrize(("noise", "whose"), [(BY_SITES, "every site added its share"), (BY_TWO, "gateway and key")])
def test_noised_statistics_have_intervals_and_covariances_have_none(
    tmp_path: Path, noise: SiteNoise, whose: str
) -> None:
    """Each value with ends and deviation of all the noise that was added; whose it is stands below."""
    data = statistics(noise)
    told, body = shown(tmp_path, "statistics", data), json.loads(data)
    count = body["answers"][0]
    figures = cells(told, count["values"][0])
    assert figures[:3] == [count["values"][0], count["low"][0], count["high"][0]]
    assert 1.9 < (float(figures[2]) - float(figures[0])) / float(figures[3]) < 2.3
    said = " ".join(told.stderr.split())
    assert whose in said
    assert "Covariances have noise, too, but no interval." in said
    read = json.loads(shown(tmp_path, "statistics", data, "--json").stdout)
    assert set(read) == {"privacy", "sites", "confidence", "covariances", "answers"}
    assert read["covariances"] == body["covariances"]


def test_a_reach_told_beforehand_is_that_of_the_released_interval() -> None:
    """Of a count: half of its interval's width, by the noise of all sites; of a mean for the declared size."""
    body = json.loads(statistics(BY_SITES))
    told = reaches(FederatedStatistics.from_json(body["plan"]), 800)
    count = body["answers"][0]
    far = int(count["high"][0]) - int(count["values"][0])
    assert told[0] == {"query": "count, per row", "reach": f"{far} rows"}
    assert told[1]["query"] == "mean of age by sex, per row"
    assert told[1]["reach"].endswith("of 400 rows")
    assert len(told) == 3


def test_what_does_not_follow_is_not_shown() -> None:
    """One figure is another: refused, of statistics and models alike; what is neither stays refused as before."""
    data = statistics(BY_SITES)
    with pytest.raises(InvalidError):
        statistics_of(data.replace(b'"800"', b'"801"', 1))
    model = noised_model("1")
    with pytest.raises(InvalidError):
        glm_of(model.replace(b'"noise_share":"0.', b'"noise_share":"1.', 1))
    for read in (glm_of, statistics_of):
        with pytest.raises(InvalidError):
            read(b'{"v":1}')
    found = statistics_of(data)
    assert isinstance(found, SitesStatistics)
    with pytest.raises(InvalidError, match="several datasets"):
        _ = found.dataset

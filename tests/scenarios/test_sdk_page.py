"""The SDK's page as a trainer would type it: its Python runs as it stands, against a gateway that really trains.

Only the dataset's id is filled in, and owner and door-keeper answer where the page says that they are waited for.
"""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import privgate
from privgate.client import profiles
from privgate.client.errors import ConflictError
from privgate.client.profiles import Profile
from privgate.sdk.gateway import Gateway
from privgate.sdk.jobs import Job, Quote
from privgate.sdk.releases import Release, VerifiedRelease
from tests.support.processes import Home
from tests.support.sources import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "SDK.md").read_text(encoding="utf-8")
PURPOSE = "research/oncology"
SIDE, PEOPLE = 28, 500
SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "mean radius", "kind": "numeric", "low": "0", "high": "40"},
        {"name": "mean texture", "kind": "numeric", "low": "0", "high": "60"},
        {"name": "mean area", "kind": "numeric", "low": "0", "high": "3000"},
        {"name": "scan", "kind": "tensor", "low": "0", "high": "255", "shape": [SIDE, SIDE]},
        {"name": "diagnosis", "kind": "categorical", "categories": ["benign", "malignant"]},
    ]
}


@dataclass(frozen=True)
class Session:
    """What the page's blocks share, and the two who answer.

    Attributes:
        names: The name space in which the page runs.
        owner, keeper: Signed in.
    """

    names: dict[str, Any]
    owner: Gateway
    keeper: Gateway

    def run(self, block: str) -> None:
        """Run a block, statement by statement; before one that waits for somebody, that one answers."""
        for statement in ast.parse(block).body:
            written = ast.unparse(statement)
            if "job.wait(" in written:
                self.owner.approve(self.names["job"].job)
            if "release.download(" in written:
                self.let_go(self.names["release"])
            exec(compile(ast.Module([statement], []), "docs/SDK.md", "exec"), self.names)

    def let_go(self, release: Release) -> None:
        """Say yes, and wait until it is published."""
        assert release.state == "held"
        self.keeper.check_release(release.release, "release")
        for _ in range(600):
            try:
                self.names["gateway"].fetch_release(release)
            except ConflictError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the release was never published")


def scans(count: int, seed: int) -> list[dict[str, Any]]:
    """Made-up patients: a malignant scan is striped finely, a benign one coarsely."""
    draw, columns = np.random.default_rng(seed), np.arange(SIDE)
    rows = []
    for malignant in draw.integers(0, 2, count):
        stripes = 90 * np.sin(columns * (2.4 if malignant else 0.6) + draw.uniform(0, 6))
        scan = np.clip(128 + stripes + draw.normal(0, 20, (SIDE, SIDE)), 0, 255).round()
        radius, texture, area = draw.normal((17, 21, 900) if malignant else (12, 18, 500), (2, 3, 100)).clip(1)
        rows.append(
            {
                "mean radius": round(radius, 2),
                "mean texture": round(texture, 2),
                "mean area": round(area, 1),
                "scan": scan.ravel().tolist(),
                "diagnosis": SCHEMA["columns"][-1]["categories"][malignant],
            }
        )
    return rows


def blocks(heading: str) -> list[str]:
    """The Python of one section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A gateway with sealed scans; the trainer's profile lies where the SDK looks for it."""
    home = Home(tmp_path_factory.mktemp("sdk-page"), {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.enter_context(home.api())
        stack.enter_context(home.worker())
        patch.setenv("PRIVGATE_CONFIG", str(home.folder / "config"))
        patch.chdir(home.folder)
        yield _prepared(home, stack)


def _prepared(home: Home, stack: ExitStack) -> Session:
    url = f"https://localhost:{home.port_file.read_text(encoding='ascii').strip()}"
    authority = (home.path / "tls" / "ca.pem").read_text(encoding="ascii")

    def connect(token: str) -> Gateway:
        return stack.enter_context(privgate.connect(url=url, token=token, authority=authority))

    admin = connect(home.token)
    admin.define_purpose("research")
    admin.define_purpose(PURPOSE, within=["research"])
    enrolled = {name: admin.enrol(name, name) for name in ("owner", "trainer", "checker")}
    profiles.save("trainer", Profile(url=url, token=enrolled["trainer"].token, authority=authority))
    profiles.save_trust("trainer", admin.trust())
    owner = connect(enrolled["owner"].token)
    population = owner.create_population(
        unit_noun="patient", unit_domain="patients", public_size=PEOPLE, epsilon=12, delta="0.000001"
    )
    dataset = owner.register_dataset(
        title="Scans", population=population, schema=SCHEMA, unit={"kind": "record", "noun": "patient"},
        sensitivity="confidential", purposes=["research"], legal_basis="gdpr-6-1-e-public-task",
        retention_until="2099-01-01",
    )  # fmt: skip
    rows = home.folder / "scans.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in scans(PEOPLE, seed=1)), encoding="utf-8")
    owner.upload(dataset, rows)
    owner.grant(
        principal=enrolled["trainer"].principal, dataset=dataset, purpose=PURPOSE, until="2099-01-01",
        job_kinds=("training", "tuning", "evaluation", "statistics", "glm"), approval_required=True,
    )  # fmt: skip
    return Session({"here": dataset.dataset}, owner, connect(enrolled["checker"].token))


@pytest.fixture(scope="module")
def trained(session: Session) -> Session:
    """After the trainer's session of the page."""
    (block,) = blocks("A trainer's session")
    assert block.count('"dst_..."') == 1
    session.run(block.replace('"dst_..."', "here"))
    return session


def test_the_trainers_session_ends_with_a_verified_model(trained: Session) -> None:
    """Its files lie where the page says, and a row with every column gets an answer; the page's lacks some."""
    files, model = trained.names["files"], trained.names["model"]
    assert isinstance(files, VerifiedRelease)
    assert {path.name for path in Path("release").iterdir()} == set(files.files)
    assert model.predict([{"mean radius": 14.1, "mean texture": 19.3}]) == [None]
    assert set(model.predict(scans(20, seed=2))) <= {True, False}


def test_the_rehearsal_of_the_page_has_the_jobs_plan(trained: Session) -> None:
    """Five steps of the plan on dummy rows, with a recipe of its own; the request is that of a quote."""
    (block,) = blocks("Trying first")
    trained.run(block)
    tried, names = trained.names["tried"], trained.names
    assert (tried.steps_run, tried.rows, tried.numbers_per_row) == (5, "dummy", 3 + SIDE * SIDE)
    assert tried.request_digest == names["gateway"].quote(names["dataset"], **names["wanted"]).request_digest


def test_what_the_page_does_with_a_release_can_be_done(trained: Session) -> None:
    """Predicted, explained, exported, made smaller: the block runs, and the files are verified."""
    from privgate.export import open_onnx

    (block,) = blocks("What to do with a release")
    trained.run(block)
    names = trained.names
    assert names["encoded"] == [None]
    assert not names["module"].training
    assert names["card"].startswith(names["files"].card.rstrip())
    assert names["explained"].gap < 1e-9
    trust = names["gateway"].pinned
    assert [open_onnx(name, trust).exact for name in ("model.onnx", "small.onnx")] == [True, False]
    assert Path("explained.svg").exists()
    assert Path("student", "lineage.json").exists()


@pytest.fixture(scope="module")
def quoted(trained: Session) -> list[Quote]:
    """What the gateway answered in the blocks on models, which follow the session."""
    quotes: list[Quote] = []
    honest = Gateway.quote_request

    def watched(self: Gateway, wanted: Any) -> Quote:
        quotes.append(honest(self, wanted))
        return quotes[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gateway, "quote_request", watched)
        for block in blocks("Models"):
            trained.run(block)
    return quotes


def test_both_models_of_the_page_are_quoted(quoted: list[Quote]) -> None:
    """A template with adaptive clipping; a softmax over what the scattering gives: 81 x 7 x 7 numbers and a bias."""
    layers, scattering = quoted
    assert layers.model is not None
    assert layers.model["clipping"] == "adaptive"
    assert scattering.model is not None
    assert scattering.model["size"]["parameters"] == 2 * (81 * 7 * 7 + 1)
    assert scattering.fits


def test_the_example_with_an_extractor_is_trained(trained: Session, quoted: list[Quote]) -> None:
    """What the page has quoted is requested, extracted and trained in a child, released, and tells scans apart."""
    names = trained.names
    job = names["gateway"].train(
        names["dataset"], purpose=PURPOSE, epsilon=3, features=names["features"], model="softmax"
    )
    assert isinstance(job, Job)
    trained.owner.approve(job.job)
    release = job.wait().result()
    trained.let_go(release)
    model = release.fetch().scorer()
    fresh = scans(60, seed=3)
    predicted = model.predict([{"scan": row["scan"]} for row in fresh])
    assert sum(p == row["diagnosis"] for p, row in zip(predicted, fresh, strict=True)) > 50


def test_the_statistics_of_the_page_are_answered(trained: Session) -> None:
    """Asked, approved, released, verified: each answer of the page has its cells, near what the rows say."""
    for block in blocks("Statistics"):
        trained.run(block)
    told = trained.names["told"]
    assert len(told) == 5
    (rows,) = told[0]
    assert float(rows.low) - 60 <= PEOPLE * 4 / 5 <= float(rows.high) + 60  # a fifth is held out
    radius = {cell.where: cell for cell in told[2]}
    assert set(radius) == {("benign",), ("malignant",)}
    assert float(radius["malignant",].high) > float(radius["benign",].low)
    assert len(list(told[4])) == 12
    made = trained.names["made"]
    assert len(made) == 100
    assert set(made[0]) == {"mean area", "diagnosis"}


def test_the_coefficients_of_the_page_are_printed(trained: Session) -> None:
    """Asked, approved, released, verified, worked out again: a table of the two predictors."""
    block, _, _ = blocks("Coefficients that people publish")
    asked, _, shown = block.partition("print(")
    trained.run(asked)
    trained.let_go(trained.names["release"])
    trained.run("shown = str(" + shown)
    printed = trained.names["shown"]
    assert printed.startswith("logistic model of diagnosis")
    assert "mean radius" in printed or "drowned" in printed


def test_the_survival_of_the_page_makes_rows_of_its_people() -> None:
    """The owner's part runs as it stands; the trainer's asks for what the library has."""
    _, made, asked = blocks("Coefficients that people publish")
    names: dict[str, Any] = {}
    exec(made, names)
    assert len(names["rows"]) == 6
    assert {column["name"] for column in names["declared"]} == set(names["rows"][0])
    asking = asked.partition("predictors=[")[2].partition("],")[0]
    *_, cut = eval(f"[{asking}]", names)
    assert cut["transform"] == "bins"


def test_the_tuning_of_the_page_is_quoted_and_asked_for(trained: Session) -> None:
    """Both prices are told; the job waits for its owner, and holds nothing until then."""
    (block,) = blocks("Tuning")
    trained.run(block)
    names, job = trained.names, trained.names["job"]
    quote = names["gateway"].quote(names["dataset"], **names["tuned"])
    assert (quote.selection["candidates"], quote.selection["most_tries"]) == (10, 16)
    assert quote.charge in (quote.selection["composed"], quote.selection["selected"])
    assert isinstance(job, Job)
    assert (job.kind, job.state) == ("tuning", "awaiting-approval")

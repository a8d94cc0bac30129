"""The tutorial "Try before you pay", typed in as it stands, against a gateway that runs.

Only the dataset's id is filled in. What is sealed there are dummy rows: nothing on the page needs others, because the
job that it ends with waits for its owner.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import privgate
from privgate.cli.app import app
from privgate.client import profiles
from privgate.client.profiles import Profile
from privgate.rowfiles import read_rows, write_rows
from privgate.sdk.gateway import Gateway
from privgate.sdk.jobs import Job
from tests.support.processes import Home
from tests.support.sources import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "tutorials" / "try-before-you-pay.md"
SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "age", "kind": "numeric", "low": "0", "high": "120"},
        {"name": "marker", "kind": "numeric", "low": "0", "high": "50", "fill": "10"},
        {"name": "ward", "kind": "categorical", "categories": ["surgery", "medicine"]},
        {"name": "diagnosis", "kind": "categorical", "categories": ["benign", "malignant"]},
    ]
}


def published(path: Path) -> None:
    """Rows of nobody in particular, in which age and marker tell the diagnosis."""
    draw = np.random.default_rng(5)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "marker", "ward", "diagnosis"])
        for age, marker, ward in zip(
            draw.uniform(20, 90, 400), draw.uniform(0, 50, 400), draw.random(400), strict=True
        ):
            ill = age / 35 + marker / 20 + draw.normal(0, 0.3) > 2.8
            place = "surgery" if ward < 0.5 else "medicine"
            writer.writerow([round(age, 1), round(marker, 2), place, "malignant" if ill else "benign"])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that the page leaves behind."""
    home = Home(tmp_path_factory.mktemp("try-before"), {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.enter_context(home.api())
        stack.enter_context(home.worker())
        patch.setenv("PRIVGATE_CONFIG", str(home.folder / "config"))
        patch.chdir(home.folder)
        published(home.folder / "public.csv")
        names: dict[str, Any] = {}
        page = PAGE.read_text(encoding="utf-8").replace("dst_...", _prepared(home, stack))
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(block, str(PAGE), "exec"), names)
        stack.callback(names["gateway"].close)
        yield names


def _prepared(home: Home, stack: ExitStack) -> str:
    url = f"https://localhost:{home.port_file.read_text(encoding='ascii').strip()}"
    authority = (home.path / "tls" / "ca.pem").read_text(encoding="ascii")

    def connect(token: str) -> Gateway:
        return stack.enter_context(privgate.connect(url=url, token=token, authority=authority))

    admin = connect(home.token)
    admin.define_purpose("research")
    admin.define_purpose("research/oncology", within=["research"])
    enrolled = {name: admin.enrol(name, name) for name in ("owner", "trainer")}
    profiles.save("trainer", Profile(url=url, token=enrolled["trainer"].token, authority=authority))
    owner = connect(enrolled["owner"].token)
    population = owner.create_population(
        unit_noun="patient", unit_domain="patients", public_size=2000, epsilon=8, delta="0.000001"
    )
    dataset = owner.register_dataset(
        title="Diagnoses", population=population, schema=SCHEMA, unit={"kind": "record", "noun": "patient"},
        sensitivity="confidential", purposes=["research"], legal_basis="gdpr-6-1-e-public-task",
        retention_until="2099-01-01",
    )  # fmt: skip
    write_rows(home.folder / "sealed.csv", dataset.schema, dataset.dummy(300))
    owner.upload(dataset, home.folder / "sealed.csv")
    owner.grant(
        principal=enrolled["trainer"].principal, dataset=dataset, purpose="research/oncology", until="2099-01-01",
        approval_required=True,
    )  # fmt: skip
    return dataset.dataset


def test_the_page_ends_with_the_job_that_was_tried(played: dict[str, Any]) -> None:
    """Asked for in the final form that was rehearsed; it waits for its owner, and nothing was spent on the way."""
    job = played["job"]
    assert isinstance(job, Job)
    assert job.state == "awaiting-approval"
    assert job.request_digest == played["tried"].request_digest == played["quote"].request_digest
    assert played["quote"].fits


def test_statistics_are_tried_as_well(played: dict[str, Any]) -> None:
    """Both wards, and a mean age for each diagnosis: those with the disease are older."""
    wards, ages = played["asked"].found
    assert [cell.where for cell in wards] == [("surgery",), ("medicine",)]
    benign, malignant = (float(cell.value or 0) for cell in ages)
    assert malignant > benign + 3


def test_the_command_line_does_the_same(played: dict[str, Any]) -> None:
    """A file of dummy rows as Python makes them; the rehearsal's plan, in words or as JSON; its files, labelled."""
    dataset, spec = played["dataset"].dataset, Path("job.json")
    spec.write_text(json.dumps(dict(played["tried"].request)), encoding="utf-8")
    code, _, told = run("datasets", "dummy", dataset, "40", "-o", "dummy.csv", "--seed", "1")
    assert (code, "nobody's rows" in told) == (0, True)
    assert [row["ward"] for row in read_rows(Path("dummy.csv"))] == [row["ward"] for row in played["rows"][:40]]
    code, out, told = run("rehearse", "--spec", str(spec), "--steps", "2", "--json", "-o", "tried")
    assert (code, json.loads(out)["plan_digest"]) == (0, played["tried"].plan_digest)
    assert "a rehearsal, not a release" in told
    assert sorted(path.name for path in Path("tried").iterdir()) == ["rehearsal.json", "rehearsal.safetensors"]
    code, out, _ = run("rehearse", "--spec", str(spec), "--rows", "public.csv", "--steps", "2")
    assert (code, "the run was cut short" in out, "nothing was asked for" in out) == (0, True, True)


def test_the_command_line_refuses_what_the_gateway_would(played: dict[str, Any]) -> None:
    """Exit code 2, the sentence and the field; own rows that break the declaration are named by row and rule."""
    dataset = played["dataset"].dataset
    wanted = ("--dataset", dataset, "--purpose", "research/oncology", "--epsilon", "2", "--label", "diagnosis")
    code, out, told = run("rehearse", *wanted, "--recipe", "steps=0")
    assert (code, out, "field: steps" in told) == (2, "", True)
    Path("broken.csv").write_text("age,marker,ward,diagnosis\n130,1,surgery,benign\n", encoding="utf-8")
    code, _, told = run("rehearse", *wanted, "--rows", "broken.csv", "--test", "public.csv")
    assert (code, "column `age`: out-of-bounds" in told) == (2, True)


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command as the trainer."""
    done = CliRunner().invoke(app, [*arguments, "--profile", "trainer"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_own_rows_tell_what_an_epsilon_buys(played: dict[str, Any]) -> None:
    """Both models, both amounts; with the larger one a regression tells the diagnoses apart."""
    assert set(played["found"]) == {(model, epsilon) for model in ("logistic", "mlp") for epsilon in (0.5, 2)}
    assert played["found"]["logistic", 2] > 0.85

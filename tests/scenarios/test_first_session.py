"""The manual's first session, typed in as it stands: from a sign-in to an evaluated model and a verified history.

Filled in are ids, which each command shows, and what the draft of a declaration leaves open. Nothing else is known here
that does not stand on the page.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from privgate.cli.app import app
from tests.support.processes import Home
from tests.support.sources import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8")
SESSION = PAGE.partition("## A first session\n")[2].partition("\n## ")[0]
OPEN: dict[str, Any] = {
    "title": "Examinations",
    "sensitivity": "restricted",
    "purposes": ["research"],
    "legal_basis": "gdpr-6-1-e-public-task",
    "special_condition": "gdpr-9-2-j-archiving-research-statistics",
    "retention_until": "2099-12-31",
}
COLUMNS: dict[str, dict[str, Any]] = {
    "radius": {"low": 0, "high": 40},
    "texture": {"low": 0, "high": 60},
    "diagnosis": {"categories": ["benign", "malignant"]},
}


def commands() -> list[str]:
    """The lines of the session, each whole and without its comment."""
    blocks = re.findall(r"```\n(.*?)```", SESSION, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def write_rows(path: Path) -> None:
    """Rows of nobody, up to three of one patient; radius and texture tell the diagnosis."""
    draw = np.random.default_rng(11)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "radius", "texture", "diagnosis"])
        for patient in range(2400):
            for _ in range(draw.integers(1, 4)):
                radius, texture = draw.uniform(5, 30), draw.uniform(5, 45)
                ill = radius / 15 + texture / 30 + draw.normal(0, 0.2) > 2.0
                writer.writerow([patient, round(radius, 2), round(texture, 2), "malignant" if ill else "benign"])


def complete(path: Path) -> None:
    """Replace every `?` of the draft but the population's, which a flag gives."""
    drafted = json.loads(path.read_text())
    drafted |= OPEN
    drafted["unit"] |= {"noun": "patient", "rows_per_unit": 3}
    for column in drafted["schema"]["columns"]:
        column |= COLUMNS.get(column["name"], {})
    path.write_text(json.dumps(drafted))


class Terminal:
    """Somebody at a terminal, who copies ids from what was shown."""

    def __init__(self, home: Home) -> None:
        self.url = f"https://localhost:{home.port_file.read_text(encoding='ascii').strip()}"
        self.ids: dict[str, str] = {}
        self.shown: dict[str, str] = {}

    def type(self, line: str) -> None:
        """Run a line of the page; whatever it is, it must do what it is there for."""
        filled = re.sub(r"\b([a-z]{3})_\.\.\.", lambda found: self.ids[found[1]], line.replace("URL", self.url))
        if filled.startswith("cp "):
            subprocess.run(shlex.split(filled), check=True)
            return
        name, *arguments = shlex.split(filled)
        assert name == "privgate"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (line, done.output, done.exception)
        self.shown[" ".join(arguments[:2])] = done.output
        if arguments[:2] != ["people", "enrol"] or arguments[2] == "tom":
            # The principal that a grant is for; of datasets and releases the one that was seen last.
            seen = re.findall(r"\b(?:pop|dst|job|rel|prn)_[a-z2-7]{26}", done.output)
            self.ids |= {found[:3]: found for found in seen
                         if not (found.startswith("prn_") and "enrol" not in arguments)}  # fmt: skip
        if arguments[:2] == ["datasets", "draft"]:
            complete(Path(arguments[-1]))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """What the whole session has shown."""
    home = Home(tmp_path_factory.mktemp("first-session"), {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    with home.api(), home.worker(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIVGATE_CONFIG", str(home.folder / "config"))
        patch.chdir(home.folder)
        write_rows(home.folder / "rows.csv")
        (home.folder / "var").mkdir()
        (home.folder / "var" / "gateway").symlink_to(home.path)
        terminal = Terminal(home)
        for line in commands():
            terminal.type(line)
        yield terminal


def test_the_session_ends_with_an_evaluated_model(lived: Terminal) -> None:
    """What was there to be learnt was learnt, and its figures came back."""
    shown = lived.shown["evaluations show"]
    found = re.search(r"accuracy\s+(0\.\d+)", shown)
    assert found is not None, shown
    assert float(found[1]) > 0.8
    assert "likely, by declared sizes" in lived.shown["quote --dataset"]
    assert "model.safetensors" in lived.shown["releases get"]


def test_the_session_ends_verified_with_report_and_release(lived: Terminal) -> None:
    """Nothing is missing of what the page says to copy."""
    shown = lived.shown["verify history"]
    assert "VERIFIED: everything that is here was checked and holds" in shown
    assert "not here, so nothing was checked of it" not in shown


def test_who_follows_is_told_what_comes_next(lived: Terminal) -> None:
    """A release is held: by which command it leaves, and for whom."""
    assert "its door-keeper lets it go with `privgate releases check rel_" in lived.shown["jobs follow"]


def test_the_owner_is_told_that_jobs_will_wait_although_the_grant_asks_for_nothing(lived: Terminal) -> None:
    """The grant and the policy, each by what it says."""
    shown = lived.shown["grants create"]
    assert "approval_required: no" in shown
    assert "the tenant's policy does, of training, evaluation, statistics on restricted data" in " ".join(shown.split())

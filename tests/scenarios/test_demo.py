"""The demo as a person runs it: real processes, real TLS, a bundle that verifies after the gateway is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = (
    "release/model.safetensors",
    "release/certificate.json",
    "release/receipt.tlog-proof",
    "release/MODEL_CARD.md",
    "report.json",
    "report.html",
    "audit/checkpoint",
    "trust.json",
    "summary.json",
)
FIGURES = {
    "dataset",
    "public_size",
    "privacy_unit",
    "mechanism",
    "epsilon",
    "delta",
    "adjacency",
    "budget_epsilon",
    "budget_share",
    "accuracy",
    "auc",
    "evaluation_epsilon",
    "refusals",
    "verified",
}
REFUSALS = {"denied", "budget-exhausted", "upload-refused"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one run."""
    return _run(tmp_path_factory.mktemp("demo") / "out", "breast-cancer")


def test_everything_that_is_promised_is_kept(bundle: Path) -> None:
    """Files, figures, refusals."""
    assert [name for name in KEPT if not (bundle / name).is_file()] == []
    assert any((bundle / "audit/payloads").iterdir())
    assert any((bundle / "audit/tile/entries").rglob("*"))
    figures = _figures(bundle)
    assert set(figures) >= FIGURES
    assert {refusal["code"] for refusal in figures["refusals"]} == REFUSALS
    assert len(figures["refusals"]) == 4


def test_the_model_costs_what_was_asked_and_is_of_use(bundle: Path) -> None:
    """The job alone is within the epsilon asked for; a coin would be at 0.63 on this table."""
    figures = _figures(bundle)
    assert 2.9 < float(figures["epsilon"]) <= 3
    assert figures["verified"] is True
    assert figures["accuracy"] > 0.75
    assert figures["auc"] > 0.75


def test_a_copy_verifies_with_the_program_and_without_the_gateway(bundle: Path) -> None:
    """Exit code 0 for the demo's own trust file, and it is said that this shows agreement only."""
    done = _privgate("verify", str(bundle))
    assert done.returncode == 0, done.stdout
    assert "VERIFIED" in done.stdout
    assert "lies inside the evidence" in done.stdout


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    """The demo empties only what an earlier demo made."""
    (tmp_path / "thesis.txt").write_text("ten years of work")
    done = _demo(tmp_path, "breast-cancer")
    assert done.returncode == 1
    assert "holds something else" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


@pytest.mark.slow
def test_adult_reaches_its_auc_at_epsilon_one(tmp_path: Path) -> None:
    """On the published test split, which plays the trainer's own rows."""
    data = Path(os.environ.get("PRIVGATE_TEST_DATA", "../shared/data"))
    if not (data / "adult").is_dir():
        pytest.skip("UCI Adult is not here: set PRIVGATE_TEST_DATA")
    figures = _figures(_run(tmp_path / "out", "adult"))
    assert float(figures["epsilon"]) <= 1
    assert figures["auc"] >= 0.90
    assert figures["verified"] is True


def _run(out: Path, name: str) -> Path:
    done = _demo(out, name)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return out


def _demo(out: Path, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "privgate.demo", "--data", name, "--out", str(out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


def _privgate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("privgate")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _figures(bundle: Path) -> Mapping[str, Any]:
    figures: Mapping[str, Any] = json.loads((bundle / "summary.json").read_text(encoding="utf-8"))
    return figures

"""`summary.json`: the figures of one run, read from certificates, answers and verified files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privgate.demo.auditing import Verified
from privgate.demo.scenes import Story
from privgate.demo.tables import Row
from privgate.sdk.jobs import Quote
from privgate.sdk.releases import VerifiedRelease
from privgate.sdk.views import Population
from privgate.verify.sums import write_sums


def own_figures(model: VerifiedRelease, rows: list[Row] | None) -> dict[str, float] | None:
    """Accuracy and AUC of the released model on the trainer's own labelled rows, if it has any."""
    return None if rows is None else model.scorer().evaluate(rows)


def summarise(
    story: Story,
    population: Population,
    quote: Quote,
    model: VerifiedRelease,
    evaluation: VerifiedRelease,
    own: dict[str, float] | None,
) -> dict[str, Any]:
    """Collect the figures."""
    predicate, priced = model.priced.predicate, evaluation.evaluation()
    chosen = own if own is not None else _priced(priced)
    return {
        "dataset": story.table.name,
        "public_size": population.public_size,
        "privacy_unit": f"{population.unit_noun} ({population.unit_kind})",
        "mechanism": "Poisson-subsampled Gaussian (DP-SGD)",
        "epsilon": str(predicate.this_job_alone.epsilon),
        "delta": str(predicate.this_job_alone.delta),
        "adjacency": population.adjacency,
        "budget_epsilon": population.epsilon,
        "budget_share": quote.budget_share,
        "accuracy": chosen["accuracy"],
        "auc": chosen["auc"],
        "measured_on": "the owner's holdout, priced" if own is None else "the trainer's own rows",
        "holdout_accuracy": _interval(priced["accuracy"]),
        "holdout_auc": _interval(priced["auc"]) if "auc" in priced else None,
        "evaluation_epsilon": str(evaluation.priced.predicate.this_job_alone.epsilon),
        "refusals": story.refusals,
    }


def write(out: Path, figures: dict[str, Any], found: Verified | None = None) -> None:
    """Write the summary and the digests of all files; once the verifier has spoken, with what it said."""
    said = {} if found is None else {"verified": found.verified, "damage_found": found.damage_found}
    text = json.dumps(figures | said, indent=2, ensure_ascii=False) + "\n"
    (out / "summary.json").write_text(text, encoding="utf-8")
    write_sums(out)


def _priced(evaluation: dict[str, Any]) -> dict[str, float | None]:
    found = {name: evaluation.get(name) for name in ("accuracy", "auc")}
    return {name: None if value is None else float(value["value"]) for name, value in found.items()}


def _interval(estimate: dict[str, str]) -> dict[str, float]:
    return {name: float(estimate[name]) for name in ("value", "low", "high")}

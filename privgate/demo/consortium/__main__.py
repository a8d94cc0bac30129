"""`python -m privgate.demo.consortium`: four hospitals, a key holder and a gateway fit one model."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from kernel.errors import PrivgateError
from privgate.client.errors import GatewayError
from privgate.demo.__main__ import prepare
from privgate.demo.consortium import scenes
from privgate.demo.consortium.pooled import distance, pooled_fit
from privgate.demo.consortium.scenes import Story
from privgate.demo.hospitals import rows_of, study
from privgate.demo.processes import LocalGateway
from privgate.demo.scenes import DemoError
from privgate.demo.screen import Screen
from privgate.verify.sums import write_sums

SETTINGS = {"PRIVGATE_TICK_SECONDS": "1", "PRIVGATE_PARTY_PORT": "0"}


def main() -> int:
    """Run the demo; the exit code is 0 if everything happened that should."""
    parser = argparse.ArgumentParser(prog="make demo-he", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-he-out"))
    chosen = parser.parse_args()
    try:
        run(chosen.out, Screen())
    except (PrivgateError, GatewayError, DemoError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


def run(out: Path, screen: Screen) -> None:
    """Play the story and leave its results in `out`."""
    started, told = time.monotonic(), study()
    list(rows_of(told.hospitals[0]))
    prepare(out)
    screen.title(f"Privgate: {told.title}", told.description)
    screen.note(told.bounds)
    with tempfile.TemporaryDirectory(prefix="privgate-demo-") as folder:
        scratch = Path(folder)
        with LocalGateway(scratch / "gateway", scratch / "output", SETTINGS) as local:
            screen.did("a gateway runs, with a listener for parties", f"{local.url} and {local.party_url}, TLS 1.3")
            story = Story(told, screen, local, scratch)
            try:
                trust = scenes.enrol(story)
                scenes.meet(story, trust)
                scenes.declare(story)
                job = scenes.collect(story, scenes.request(story))
                logs = scenes.judge_logs(story)
                scenes.release(story, job, out)
                scenes.export(story, out)
                (out / "trust.json").write_bytes(trust.to_bytes())
                figures = _figures(story, job.job, logs, out)
            finally:
                story.close()
        _write(out, figures)
        figures["verified"] = scenes.verify(screen, out, [agent.identity for agent in story.agents])
        _write(out, figures)
    _tell(screen, figures)
    screen.title(f"Done in {time.monotonic() - started:.0f} s; everything is in {out}/", f"Next: privgate verify {out}")


def _figures(story: Story, job: str, logs: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    released = json.loads((out / "release" / "he-glm.json").read_bytes())
    rows = (row for hospital in story.study.hospitals for row in rows_of(hospital))
    pooled = pooled_fit(story.study.schema, story.study.model, rows)
    return {
        "sites": released["sites"],
        "rounds": released["rounds"],
        "max_abs_deviation_from_pooled": distance(released["table"], pooled),
        "bytes_per_site_round": max(
            file.stat().st_size for agent in story.sites for file in (agent.home / "jobs" / job).glob("upload-*")
        ),
        "decryptions": logs[0]["decryptions"],
        "coefficients": len(released["table"]),
        "privacy": released["privacy"],
    }


def _write(out: Path, figures: dict[str, Any]) -> None:
    text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
    (out / "summary.json").write_text(text, encoding="utf-8")
    write_sums(out)


def _tell(screen: Screen, figures: dict[str, Any]) -> None:
    screen.act("What it came to", "one model of four hospitals")
    screen.figures(
        [
            ("rounds, and as many decryptions", f"{figures['rounds']}, {figures['decryptions']}"),
            ("bytes of each hospital in each round", f"{figures['bytes_per_site_round']:,}"),
            ("largest distance to the pooled fit", f"{figures['max_abs_deviation_from_pooled']:.1e}"),
            ("differential privacy", "none: this result is exact, and says so"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

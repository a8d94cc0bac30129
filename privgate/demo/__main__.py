"""`python -m privgate.demo`: run the cycle, or serve a gateway to play with."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from kernel.errors import PrivgateError
from privgate.client.errors import GatewayError
from privgate.demo import auditing, scenes, summary
from privgate.demo.cast import enrol
from privgate.demo.processes import LocalGateway
from privgate.demo.scenes import DemoError, Story
from privgate.demo.screen import Screen
from privgate.demo.serving import serve
from privgate.demo.tables import NAMES, declared, own_rows, write_table

MARK = "summary.json"
SETTINGS = {"PRIVGATE_TICK_SECONDS": "1"}


def main() -> int:
    """Run the demo; the exit code is 0 if everything happened that should, refusals included."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--data", choices=NAMES, default=NAMES[0])
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    parser.add_argument("--serve", type=Path, metavar="DIRECTORY", help="start a gateway and a worker, and wait")
    chosen = parser.parse_args()
    try:
        if chosen.serve is not None:
            serve(chosen.serve, Screen())
        else:
            run(chosen.data, chosen.out, Screen())
    except (PrivgateError, GatewayError, DemoError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


def run(name: str, out: Path, screen: Screen) -> None:
    """Run the cycle on one table and leave its results in `out`."""
    started = time.monotonic()
    table = declared(name)
    rows = own_rows(table)
    prepare(out)
    screen.title(f"Privgate: the whole cycle on “{table.title}”", table.description)
    with tempfile.TemporaryDirectory(prefix="privgate-demo-") as folder:
        scratch = Path(folder)
        file, pinned = scratch / f"{name}.csv", scratch / "pinned-trust.json"
        write_table(table, file)
        with LocalGateway(scratch / "gateway", scratch / "output", SETTINGS) as local:
            screen.did("a gateway and a worker run", f"{local.url}, TLS 1.3, SQLite, a fresh directory")
            cast = enrol(local, screen, table.evaluation["epsilon"])
            pinned.write_bytes(cast.trust.to_bytes())
            story = Story(table, cast, screen)
            try:
                population, dataset = scenes.register(story, file)
                scenes.grant(story, dataset)
                quote = scenes.look_around(story, dataset)
                model = scenes.train(story, quote)
                model.write(out / "release")
                evaluation = scenes.evaluate(story, dataset, model)
                evaluation.write(out / "evaluation")
                own = summary.own_figures(model, rows)
                figures = summary.summarise(story, population, quote, model, evaluation, own)
                _tell(screen, figures)
                scenes.spend_too_much(story, population, dataset, file)
                auditing.collect(story, out, pinned)
            finally:
                cast.close()
        shutil.rmtree(scratch / "gateway")
        summary.write(out, figures)
        found = auditing.verify(story, out, pinned, scratch)
    summary.write(out, figures, found)
    took, next_steps = (
        time.monotonic() - started,
        f"open {out}/report.html, run `privgate verify {out}`, read README.md",
    )
    screen.title(f"Done in {took:.0f} s; everything is in {out}/", f"Next: {next_steps}")


def prepare(out: Path) -> None:
    """Make `out` empty; a directory that is not an earlier demo's is left alone and refused."""
    if out.exists() and any(out.iterdir()) and not ((out / MARK).exists() or (out / "release").exists()):
        raise DemoError(f"`{out}` holds something else: name another directory")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def _tell(screen: Screen, figures: dict[str, object]) -> None:
    held_out = figures["holdout_accuracy"]
    assert isinstance(held_out, dict)
    screen.figures(
        [
            ("accuracy on the holdout", f"{held_out['value']:.3f} ({held_out['low']:.3f} to {held_out['high']:.3f})"),
            ("accuracy, " + str(figures["measured_on"]), f"{figures['accuracy']:.3f}"),
            ("AUC, " + str(figures["measured_on"]), f"{figures['auc']:.3f}"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

"""`make soak`: what is too long for continuous integration; results with their seeds in `results/soak.jsonl`.

    python -m benchmarks.soak [--kills N] [--run-kills N] [--seed S] [--upload-mb M]

Random kills: at a point and an occurrence drawn from the seed, on SQLite and PostgreSQL in turn; after each the cycle
is begun again and invariants 1 to 3 are looked at. Killed runs: jobs with the book-keeping engine, adaptive clipping
and savepoints, of which the worker or the child is killed at a random moment, as often as the hold covers; each must
end, charged all that was started, with at most one chunk lost for an attempt that died. The large upload: a CSV file of
that size through the gateway's own staging and its confined child; the peak of the child's memory and of the staging
process are reported.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.lines import Line, machine, write

KILLS = 200
SEED = 20261127
UPLOAD_MB = 2048
MB = 2**20


def kills(count: int, seed: int) -> Iterator[Line]:
    """Kill at random points; an invariant that does not hold ends the run with its point."""
    from tests.support import postgres
    from tests.support.crash_looks import Rehearsal, kill_and_look

    databases = ("sqlite", "postgresql") if postgres.binaries() is not None else ("sqlite",)
    draw = random.Random(seed)
    with ExitStack() as held, tempfile.TemporaryDirectory(prefix="privgate-soak-") as name:
        folder = Path(name)
        held.callback(postgres.stop)
        rehearsed = {}
        for database in databases:
            (folder / database).mkdir()
            rehearsed[database] = Rehearsal(folder / database, database, held)
        for number in range(count):
            database = databases[number % len(databases)]
            act, point, occurrence = _chosen(rehearsed[database].points, draw)
            with tempfile.TemporaryDirectory(dir=folder) as place:
                kill_and_look(rehearsed[database], act, point, occurrence, Path(place))
            sys.stderr.write(f"\r{number + 1} of {count}: {database} {act} {point} {occurrence}\033[K")
    sys.stderr.write("\n")
    case = f"{' and '.join(databases)}, seed {seed}: begun again, every invariant held"
    yield Line(quantity="random_kills_survived", case=case, value=count, unit="kills")


def run_kills(count: int, seed: int) -> Iterator[Line]:
    """Kill training runs at random moments; one that does not end as it must ends this run, too."""
    from tests.support.crashes import Place
    from tests.support.run_kills import killed_at_random, undisturbed, waiting_job

    draw, fates = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="privgate-soak-") as name:
        folder = Path(name)
        waiting = waiting_job(Place(folder / "waiting"))
        seconds = undisturbed(waiting.copy(folder / "undisturbed"))
        for number in range(count):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                copy = waiting.copy(Path(place) / "run")
                fates.append(killed_at_random(copy, draw, seconds, Path(place) / "archive"))
            sys.stderr.write(f"\r{number + 1} of {count} runs: {fates[-1]}\033[K")
    sys.stderr.write("\n")
    case = f"sqlite, seed {seed}: worker or child killed at random moments, every job finished, charged all it started"
    yield Line(quantity="killed_runs_survived", case=case, value=len(fates), unit="runs")
    struck = sum(fate.attempts > 1 for fate in fates)
    yield Line(
        quantity="killed_runs_resumed", case="of these, the attempt died after it had begun", value=struck, unit="runs"
    )
    lost = [(fate.started - fate.steps) / max(1, fate.attempts - 1) / fate.steps for fate in fates]
    yield Line(
        quantity="most_lost_per_kill",
        case="of a run of ten chunks",
        value=round(100 * max(lost, default=0.0), 2),
        unit="%",
    )


def upload(megabytes: int) -> Iterator[Line]:
    """Seal one large file in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.soak", "--only-upload", str(megabytes)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    case = f"CSV of {megabytes} MB, {found['rows']} rows"
    for quantity in ("staging_peak_mb", "ingest_peak_mb"):
        yield Line(quantity=quantity, case=case, value=found[quantity], unit="MB")
    yield Line(quantity="ingest_seconds", case=case, value=found["seconds"], unit="s")


def _upload_here(megabytes: int) -> dict[str, float]:
    from benchmarks.house import House
    from benchmarks.ingesting import schema

    with tempfile.TemporaryDirectory(prefix="privgate-soak-") as name:
        house = House.build(Path(name))
        file = Path(name) / "large.csv"
        rows = _write(file, megabytes * MB)
        dataset = house.dataset(schema(rows), 10_000_000, "3", "0.000000001")
        with file.open("rb") as content:
            version = house.stage(dataset, content)
        file.unlink()
        staging = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        house.worker.step()
        seconds = time.perf_counter() - start
        house.require_sealed(version)
        house.gateway.close()
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"rows": rows, "seconds": seconds, "staging_peak_mb": staging / 1024, "ingest_peak_mb": child / 1024}


def _write(path: Path, size: int) -> int:
    """Write rows until the file is that large; return how many."""
    from benchmarks.ingesting import csv_rows

    rows = -1
    with path.open("wb", buffering=MB) as file:
        for line in csv_rows(size):
            file.write(line)
            rows += 1
            if rows % 4096 == 0 and file.tell() >= size:
                break
    return rows


def _chosen(points: dict[str, object], draw: random.Random) -> tuple[str, str, int]:
    act = draw.choice(sorted(points))
    passed: dict[str, int] = dict(points[act])  # type: ignore[call-overload]
    point = draw.choice(sorted(passed))
    return act, point, draw.randint(1, passed[point])


def main() -> None:
    """Run both, print, keep."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--run-kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--upload-mb", type=int, default=UPLOAD_MB)
    parser.add_argument("--only-upload", type=int)
    chosen = parser.parse_args()
    if chosen.only_upload is not None:
        print(json.dumps(_upload_here(chosen.only_upload)))
        return
    sys.stderr.write(f"on {machine()}\n")
    lines = []
    parts = (kills(chosen.kills, chosen.seed), run_kills(chosen.run_kills, chosen.seed), upload(chosen.upload_mb))
    for line in itertools.chain(*parts):
        print(line.text(), flush=True)
        lines.append(line)
    write("soak", lines)


if __name__ == "__main__":
    main()

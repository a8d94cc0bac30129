"""`make bench-dp`: private training against ordinary training and against other libraries of private training.

    python -m benchmarks.dp [--quick] [--case NAME ...] [--window SECONDS] [--rounds N]

One process, one thread, contestants in turns (`dp_timing`); memory in processes of their own (`dp_memory`). Before a
case is measured, ours and Opacus must agree on clipped sums (`dp_agreement`). Lines, plot and the table of the page are
renewed, except by a quick run, which leaves memory out and only prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator

from benchmarks.dp_cases import CASES, Case, case_named
from benchmarks.dp_engines import BASELINE, ENGINES, built, takes_part
from benchmarks.dp_memory import peak_here, peak_mb
from benchmarks.dp_results import Figure, keep, read, renew_page
from benchmarks.dp_timing import LEAST_ROUNDS, rated, take_turns
from benchmarks.lines import machine

WINDOW, ROUNDS = 1.0, 9
QUICK_WINDOW = 0.1
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def measured(case: Case, window: float, rounds: int, weigh: bool) -> Iterator[Figure]:
    """Check and time everybody who takes part in a case; `weigh` runs each once more, to see its memory."""
    from benchmarks.dp_agreement import check_agreement

    sys.stderr.write(f"{case.name}: a unit differs from Opacus by {check_agreement(case):.1e} of the clip\n")
    engines = [engine for engine in ENGINES if takes_part(engine, case)]
    contestants = {engine: built(engine, case) for engine in engines}
    rates = rated(take_turns(contestants, case.batch, window, rounds), BASELINE)
    for engine in engines:
        yield Figure(
            case=case.name,
            engine=engine,
            samples_per_s=rates[engine].samples_per_s,
            slowdown_vs_plain=rates[engine].slowdown,
            peak_rss_mb=peak_mb(engine, case.name) if weigh else None,
        )


def quiet() -> None:
    """One thread and no denormals, for everybody, as in the child that trains."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def main() -> None:
    """Measure, print, keep."""
    os.environ.update(_ONE_THREAD)
    chosen = _arguments()
    quiet()
    if chosen.peak is not None:
        case, engine = chosen.peak
        print(peak_here(engine, case))
        return
    sys.stderr.write(f"on {machine()}\n")
    how = (QUICK_WINDOW, LEAST_ROUNDS, False) if chosen.quick else (chosen.window, chosen.rounds, True)
    figures = []
    for case in [case_named(name) for name in chosen.case] if chosen.case else CASES:
        for figure in measured(case, *how):
            print(figure.text(), flush=True)
            figures.append(figure)
    if not chosen.quick:
        _keep(figures)


def _keep(figures: list[Figure]) -> None:
    from benchmarks.dp_plot import PICTURE, picture

    keep(figures)
    kept = read()
    PICTURE.write_text(picture(kept), encoding="utf-8")
    renew_page(kept)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-dp")
    parser.add_argument("--quick", action="store_true", help="short windows, no memory; prints only")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--window", type=float, default=WINDOW, help="seconds of processor time")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least {LEAST_ROUNDS}")
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "ENGINE"), help="print the peak memory of one engine")
    return parser.parse_args()


if __name__ == "__main__":
    main()

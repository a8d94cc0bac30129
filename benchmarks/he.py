"""`make bench-he`: sums, blind training and inference under encryption, beside the usual way.

    python -m benchmarks.he [--quick] [--only PART]

One process, one thread, contestants in turns; medians of processor time. The usual way is a replay of its code path
(`he_usual`), ours is the production code without the confined child around it. Lines, plot and the table of the page
are renewed, except by a quick run, which repeats less and only prints. `health` alone runs processes, by the clock
(`he_health`). With `--only` the lines of one part are renewed, and the others stay.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from benchmarks import he_health, he_usual
from benchmarks.he_health import healthz
from benchmarks.he_lines import Figure, keep, merged, read, renew_page
from benchmarks.he_plot import PICTURE, picture
from benchmarks.he_usual import Floats
from benchmarks.lines import machine
from kernel.events import Parameter
from privacy.homomorphic.blind.recipe import PROFILE, BlindRecipe, dry_run
from privacy.homomorphic.inference import Layer, Scored
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.quantising import Grid
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.approximate import load_vectors
from privacy.homomorphic.tenseal_backend.blind import BlindOwner, BlindWorker
from privacy.homomorphic.tenseal_backend.decrypt import decrypt
from privacy.homomorphic.tenseal_backend.encrypt import encrypt
from privacy.homomorphic.tenseal_backend.inference import answers, ask, asking, evaluated, infer
from privacy.homomorphic.tenseal_backend.keys import make_keys

SITES, CLIP = 4, 0.25
PROFILES = ("bfv-4096-public", "bfv-2048-seeded")
TRAINING_ROWS, TUTORIAL_ROWS, DEVIATING_ROWS, EPOCHS, RATE = 455, 6, 60, 12, 2.0
REPLAY = "the usual way is a replay of its code path: a CKKS vector for each of 97 layers, its context beside it"


@dataclass(frozen=True, slots=True)
class Effort:
    """How often things are repeated."""

    sums: int
    epochs: int
    batches: int


WHOLE, QUICK = Effort(sums=7, epochs=7, batches=7), Effort(sums=1, epochs=2, batches=1)


def seconds(act: Callable[[], object]) -> float:
    """The processor time that one call takes."""
    start = time.process_time()
    act()
    return time.process_time() - start


def in_turns(repeats: int, *acts: Callable[[], object]) -> list[float]:
    """The median seconds of each act; all are warmed up once, and take turns."""
    for act in acts:
        act()
    times: list[list[float]] = [[] for _ in acts]
    for _ in range(repeats):
        for own, act in zip(times, acts, strict=True):
            own.append(seconds(act))
    return [statistics.median(own) for own in times]


class Usual:
    """The usual way's client and server for one update."""

    def __init__(self) -> None:
        self.context, self.layers = he_usual.sum_context(), he_usual.update(0)
        self.numbers = sum(layer.size for layer in self.layers)
        self.vectors = he_usual.encrypted_layers(self.context, self.layers)
        self.pairs = he_usual.shipped(self.vectors)
        self.contexts_bytes = sum(len(context) for _, context in self.pairs)
        self.bytes = self.contexts_bytes + sum(len(vector) for vector, _ in self.pairs)

    def encrypt(self) -> None:
        """At a client."""
        he_usual.encrypted_layers(self.context, self.layers)

    def serve(self) -> None:
        """At the server: load one client's update and add it."""
        he_usual.added(self.vectors, he_usual.received(self.pairs))

    def error(self) -> float:
        """Of decrypted sums."""
        total = he_usual.added(self.vectors, self.vectors)
        pairs = zip(total, self.layers, strict=True)
        return max(float(np.abs(np.array(one.decrypt()) - 2 * layer.ravel()).max()) for one, layer in pairs)


class Ours:
    """Our client and server for the same update under one profile."""

    def __init__(self, profile: str, layers: list[Floats]) -> None:
        self.flat = np.concatenate([layer.ravel() for layer in layers])
        self.grid = Grid.of_bits(CLIP)
        self.layout = Layout.plain(profile_of(profile), self.flat.size, SITES)
        self.pair = make_keys(self.layout.profile)
        seeded = self.layout.profile.mode is Mode.SEEDED
        self._key = self.pair.secret.reveal() if seeded else self.pair.public
        self.bodies = [self.encrypt() for _ in range(SITES)]
        self._total = Sum(self.layout)

    def encrypt(self) -> bytes:
        """At a site: quantise, pack, encrypt, serialise."""
        return encrypt(self.layout, self._key, pack(self.layout, self.grid.quantise(self.flat)))

    def serve(self) -> None:
        """Whoever adds: judge one upload, load it and add it."""
        if self._total.summands == self.layout.summands:
            self._total = Sum(self.layout)
        self._total.add(self.bodies[self._total.summands])

    def error(self) -> float:
        """Of decrypted sums, beyond what is clipped."""
        total = Sum(self.layout)
        for body in self.bodies:
            total.add(body)
        found = self.grid.restore(unpack(self.layout, decrypt(self.layout, self.pair.secret, total)))
        return float(np.abs(found - SITES * np.clip(self.flat, -CLIP, CLIP)).max()) / SITES


def sums(effort: Effort) -> Iterator[Figure]:
    """An update of a ResNet-20: bytes, the server's time, the client's time."""
    usual = Usual()
    plain = 4 * usual.numbers
    precision = f"16 bits beside CKKS: error {{:.1e}} of values up to {CLIP} beside {usual.error():.1e}"
    for name in PROFILES:
        ours = Ours(name, usual.layers)
        exact = precision.format(ours.error())
        yield Figure(
            quantity="upload_x_float32",
            profile=name,
            value=len(ours.bodies[0]) / plain,
            baseline=usual.bytes / plain,
            told=f"{usual.numbers:,} numbers in {len(ours.bodies[0]):,} bytes, padding shared by all layers; {REPLAY}: "
            f"{usual.bytes:,} bytes, of which repeated contexts {usual.contexts_bytes:,}; {exact}",
        )
        yield noised_size(name, usual.numbers, plain)
        encrypting, theirs = in_turns(effort.sums, ours.encrypt, usual.encrypt)
        serving, loading = in_turns(effort.sums, ours.serve, usual.serve)
        yield Figure(
            quantity="client_encrypt_ms",
            profile=name,
            value=1000 * encrypting,
            baseline=1000 * theirs,
            told="ours with clipping, rounding, packing and serialisation; theirs encryption alone",
        )
        yield Figure(
            quantity="server_ms_per_client",
            profile=name,
            value=1000 * serving,
            baseline=1000 * loading,
            told="judging, loading and adding one upload; a confined child is started once for a sum, not for a client",
        )


def noised_size(name: str, numbers: int, plain: int) -> Figure:
    """The same update with noise as large as its clip: 16 bits, and tails of 12 deviations."""
    noise = SiteNoise(sites=SITES, tolerated=1, noise_multiplier=Parameter("1"))
    bound = Grid.of_bits(CLIP).bound
    tail = noise.tail(Parameter(str(bound)))
    layout = Layout(profile=profile_of(name), values=numbers, bound=bound, summands=SITES, tail=tail)
    without = Layout.plain(layout.profile, numbers, SITES)
    return Figure(
        quantity="upload_x_float32",
        profile=f"{name}, with noise of multiplier 1",
        value=layout.upload_bytes / plain,
        baseline=None,
        told=f"whole update clipped at 32,767 steps, noise of the same deviation: {layout.fields} values a slot, "
        f"{layout.upload_bytes:,} bytes beside {without.upload_bytes:,} without noise",
    )


def cancer() -> tuple[Floats, Floats]:
    """Breast cancer, standardised, as the tutorial does; the rows to train on."""
    bunch = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(bunch.target))[:TRAINING_ROWS]
    rows = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
    return rows[order], bunch.target[order].astype(np.float64)


def blind(effort: Effort) -> Iterator[Figure]:
    """An epoch of logistic regression on encrypted rows."""
    rows, labels = cancer()
    tutorial = he_usual.TutorialTraining(rows[:TUTORIAL_ROWS], labels[:TUTORIAL_ROWS])
    each = statistics.median(seconds(lambda place=place: tutorial.pass_row(place)) for place in range(TUTORIAL_ROWS))  # type: ignore[misc]
    epoch = each * TRAINING_ROWS + seconds(tutorial.step)
    bounded = np.clip(rows, -4, 4) / np.sqrt(rows.shape[1] + 1)
    table = np.column_stack([np.full(len(rows), 1 / np.sqrt(rows.shape[1] + 1)), bounded])
    recipe = BlindRecipe(rows=TRAINING_ROWS, features=table.shape[1], epochs=max(EPOCHS, effort.epochs), rate=RATE)
    expected = dry_run(recipe, table, labels)
    owner = BlindOwner(recipe, table, labels)
    data = owner.data()
    worker = BlindWorker(recipe, owner.evaluation_keys, data)
    times = [seconds(lambda: owner.refresh(worker.gradient(owner.weights_body()))) for _ in range(recipe.epochs)]
    yield Figure(
        quantity="blind_logistic_epoch_s",
        profile=PROFILE.name,
        value=statistics.median(times),
        baseline=epoch,
        told=f"all {TRAINING_ROWS} rows and the refresh; rows share {recipe.ciphertexts} ciphertexts: a row's time is "
        f"amortised; the tutorial's epoch is the median row, of {TUTORIAL_ROWS}, times {TRAINING_ROWS}; "
        f"keys {len(owner.evaluation_keys):,} and rows {len(data):,} bytes, once",
    )
    yield Figure(
        quantity="blind_logistic_max_abs_deviation",
        profile=PROFILE.name,
        value=float(np.abs(owner.weights - expected.weights).max()),
        baseline=tutorial_deviation(rows[:DEVIATING_ROWS], labels[:DEVIATING_ROWS]) if effort is WHOLE else None,
        told=f"from training in the clear with the same polynomial, after {recipe.epochs} epochs, largest size of z "
        f"{expected.largest:.2f} of 8; the tutorial's after one step on {DEVIATING_ROWS} rows",
    )


def tutorial_deviation(rows: Floats, labels: Floats) -> float:
    """How far the tutorial's first step is from the same step in the clear."""
    tutorial = he_usual.TutorialTraining(rows, labels)
    for place in range(len(rows)):
        tutorial.pass_row(place)
    tutorial.step()
    return float(np.abs(tutorial.weights() - he_usual.tutorial_step_in_the_clear(rows, labels)).max())


def inference(effort: Effort) -> Iterator[Figure]:
    """Batches of encrypted rows through a linear model and one with a square."""
    rows, _ = cancer()
    source = np.random.default_rng(1)
    weights, bias = source.normal(0, 0.5, (1, rows.shape[1])), source.normal(0, 1, 1)
    usual = he_usual.TutorialLinear(weights[0], float(bias[0]))
    yield from _inferred(effort, (weights, bias), rows, usual, "a linear model on 30 features", "tutorial 1")
    digits = load_digits().data / 16
    first, hidden = source.normal(0, 0.1, (32, 64)), source.normal(0, 0.1, 32)
    second, last = source.normal(0, 0.2, (10, 32)), source.normal(0, 0.1, 10)
    square = he_usual.TutorialSquare(first, hidden, second, last)
    layers = (first, hidden, second, last)
    yield from _inferred(effort, layers, digits, square, "64-32-10 with a square", "tutorial 4's layers")


def _inferred(
    effort: Effort, numbers: tuple[Floats, ...], rows: Floats, usual: he_usual.Tutorial, name: str, replay: str
) -> Iterator[Figure]:
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    model = Scored(tuple(Layer(tuple(map(tuple, w.tolist())), tuple(b.tolist())) for w, b in pairs))
    shape, profile = model.shape, model.shape.profile
    batch = np.resize(np.clip(rows, -1, 1), (profile.slots, rows.shape[1]))
    keys = asking(shape)
    question = ask(shape, keys, batch.tolist())
    found = answers(shape, keys, infer(model, keys.evaluation, question), len(rows))
    worst = max(
        abs(a - b)
        for given, row in zip(found, batch.tolist(), strict=False)
        for a, b in zip(given, model.of(row), strict=True)
    )
    loaded, one = load_vectors(profile, question, shape.features), usual.encrypted(rows[0])
    message = one.serialize()
    ours, whole, theirs, answered = in_turns(
        effort.batches,
        lambda: evaluated(model, keys.evaluation, loaded),
        lambda: infer(model, keys.evaluation, question),
        lambda: usual.evaluated(one),
        lambda: usual.answered(message),
    )
    amortised = f"amortised over a full batch of {profile.slots} rows: one row alone costs the whole"
    yield Figure(
        quantity="inference_ms_per_sample",
        profile=f"{profile.name}, {name}",
        value=1000 * ours / profile.slots,
        baseline=1000 * theirs,
        told=f"evaluation alone on both sides, ours {amortised} {1000 * ours:.3g} ms; {replay}, row by row; "
        f"largest error of ours {worst:.1e}",
    )
    yield Figure(
        quantity="inference_ms_per_sample",
        profile=f"{profile.name}, {name}, from message to answer",
        value=1000 * whole / profile.slots,
        baseline=1000 * answered,
        told=f"both sides load what came and write what goes, ours judges it too, {amortised} {1000 * whole:.3g} ms; "
        f"{theirs / whole * profile.slots:,.0f} times less than the tutorial's evaluation alone; a row travels in "
        f"{len(question) // profile.slots:,} bytes beside {len(message):,}",
    )


def health(effort: Effort) -> Iterator[Figure]:
    """How long `/healthz` takes meanwhile."""
    return healthz(he_health.WHOLE if effort is WHOLE else he_health.QUICK)


PARTS = {"sums": sums, "blind": blind, "inference": inference, "health": health}


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.he", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="repeat less and only print")
    parser.add_argument("--only", choices=PARTS, help="renew the lines of one part")
    chosen = parser.parse_args()
    quick = chosen.quick
    effort = QUICK if quick else WHOLE
    sys.stderr.write(machine() + ", one thread\n")
    figures = []
    for name, part in PARTS.items():
        for figure in part(effort) if chosen.only in (None, name) else ():
            sys.stdout.write(figure.text() + "\n")
            sys.stdout.flush()
            figures.append(figure)
    if not quick:
        keep(figures if chosen.only is None else merged(read(), figures))
        kept = read()
        renew_page(kept)
        PICTURE.write_text(picture(kept), encoding="utf-8")


if __name__ == "__main__":
    main()

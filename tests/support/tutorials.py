"""The gateway that the tutorials run against, and the people who answer in it. Run as a module, it refreshes them.

    python -m tests.support.tutorials

A real gateway, worker and child with the Wisconsin breast cancer table, declared as the demo declares it. Owner and
door-keeper are threads with sign-ins of their own: they say yes to what waits for them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import privgate
from privgate.client import profiles
from privgate.client.errors import GatewayError
from privgate.client.profiles import Profile
from privgate.demo.tables import declared, write_table
from privgate.sdk.gateway import Gateway
from tests.support import notebooks
from tests.support.processes import Home
from tests.support.sources import ROOT

FOLDER = ROOT / "docs" / "tutorials"
PURPOSE = "research/oncology"
EVERY_SECONDS = 0.3


@contextmanager
def surroundings(folder: Path) -> Iterator[None]:
    """A gateway with a sealed table, the profile `trainer`, and people who answer; work is done in `folder`."""
    home = Home(folder, {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    before, place = os.environ.get("PRIVGATE_CONFIG"), Path.cwd()
    stopping = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(home.api())
        stack.enter_context(home.worker())
        os.environ["PRIVGATE_CONFIG"] = str(folder / "config")
        try:
            answering = _prepare(home, stack)
            threads = [threading.Thread(target=_repeat, args=(answer, stopping)) for answer in answering]
            for thread in threads:
                thread.start()
            (folder / "work").mkdir()
            os.chdir(folder / "work")
            try:
                yield
            finally:
                stopping.set()
                for thread in threads:
                    thread.join()
        finally:
            os.chdir(place)
            if before is None:
                del os.environ["PRIVGATE_CONFIG"]
            else:
                os.environ["PRIVGATE_CONFIG"] = before


def _prepare(home: Home, stack: ExitStack) -> list[Callable[[], None]]:
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
    owner, keeper = connect(enrolled["owner"].token), connect(enrolled["checker"].token)
    _declare(owner, enrolled["trainer"].principal, home.folder / "rows.csv")
    return [lambda: _approve(owner), lambda: _let_go(keeper)]


def _declare(owner: Gateway, trainer: str, path: Path) -> None:
    table = declared("breast-cancer")
    write_table(table, path)
    told = table.population
    population = owner.create_population(
        unit_noun=told["unit_noun"], unit_domain=told["unit_domain"], public_size=told["public_size"],
        holdout_share=told["holdout_share"], epsilon=told["epsilon"], delta=told["delta"],
    )  # fmt: skip
    dataset = owner.register_dataset(
        title=table.title, description=table.description, population=population, schema=table.schema, unit=table.unit,
        sensitivity="confidential", purposes=["research"], legal_basis="gdpr-6-1-e-public-task",
        retention_until="2099-01-01",
    )  # fmt: skip
    owner.upload(dataset, path)
    owner.grant(principal=trainer, dataset=dataset, purpose=PURPOSE, until="2099-01-01", approval_required=True)


def _approve(owner: Gateway) -> None:
    for job in owner.jobs:
        if job.state == "awaiting-approval":
            owner.approve(job.job)


def _let_go(keeper: Gateway) -> None:
    for release in keeper.releases:
        if release.state == "held":
            keeper.check_release(release.release, "release")


def _repeat(answer: Callable[[], None], stopping: threading.Event) -> None:
    while not stopping.wait(EVERY_SECONDS):
        try:
            answer()
        except GatewayError:  # somebody was faster, or it is busy: the next round will see
            continue


def executed(path: Path) -> dict[str, Any]:
    """A notebook run against a gateway of its own."""
    with tempfile.TemporaryDirectory() as folder, surroundings(Path(folder)):
        return notebooks.run(notebooks.read(path), path.name, {"__name__": "__main__"})


def main() -> None:
    """Run each notebook and keep what came out."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebooks.write(path, executed(path))
        sys.stdout.write(f"{path.relative_to(ROOT)} refreshed\n")


if __name__ == "__main__":
    main()

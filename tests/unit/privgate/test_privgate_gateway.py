"""SDK and command line against a real gateway: processes, TLS, a worker, real training on real rows of its own.

One cycle is lived once for the whole module; the tests look at what came of it, and try what must not work.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import privgate
from audit.note import NoteKey
from audit.trust import TrustFile
from kernel.errors import ConflictError as LocalConflict
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import TenantId
from kernel.signing import Ed25519Signer
from privgate.cli.app import app
from privgate.client.errors import (
    BudgetExhaustedError,
    ConflictError,
    DeniedError,
    ImpostorError,
    InvalidRequestError,
    NotSignedInError,
)
from privgate.sdk import Gateway, JobEndedError, NotPinnedError, UploadRefusedError
from privgate.sdk.believing import believe
from privgate.sdk.jobs import Job, Progress
from privgate.sdk.releases import Release, VerifiedRelease
from privgate.sdk.views import Grant, Population, Report, Version
from tests.support.processes import Home

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the gateway runs on Linux")

PURPOSE = "research/oncology"
SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "age", "kind": "numeric", "low": "0", "high": "100", "clamp": True},
        {"name": "dose", "kind": "numeric", "low": "0", "high": "1"},
        {"name": "outcome", "kind": "categorical", "categories": ["well", "ill"]},
    ]
}
ROLES = {"owner": ["owner"], "trainer": ["trainer"], "peer": ["trainer"], "keeper": ["checker"], "auditor": ["auditor"]}


@dataclass
class Cycle:
    """What one cycle left behind."""

    url: str
    authority: str
    trust: TrustFile
    people: dict[str, Gateway]
    tokens: dict[str, str]
    ids: dict[str, str]
    rows: Path
    population: Population
    refused: Version
    version: Version
    grant: Grant
    job: Job
    progress: list[Progress]
    held: Release
    fetched: VerifiedRelease
    evaluated: VerifiedRelease
    report: Report

    def __getitem__(self, name: str) -> Gateway:
        return self.people[name]

    @property
    def dataset(self) -> str:
        """The dataset's id."""
        return self.ids["dataset"]


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cycle]:
    """Start a gateway and a worker, and live one cycle through the SDK."""
    folder = tmp_path_factory.mktemp("gateway")
    home = Home(folder, {"PRIVGATE_TICK_SECONDS": "1"})
    home.init()
    with home.api(), home.worker():
        url = "https://localhost:" + home.port_file.read_text(encoding="ascii").strip()
        authority = (home.path / "tls" / "ca.pem").read_text(encoding="ascii")
        lived = live(folder, url, authority, home.token)
        yield lived
        for gateway in lived.people.values():
            gateway.close()


def live(folder: Path, url: str, authority: str, token: str) -> Cycle:
    """Register, seal, grant, train, evaluate, release, report."""
    admin = privgate.connect(url=url, token=token, authority=authority)
    admin.define_purpose("research")
    admin.define_purpose(PURPOSE, within=["research"])
    tokens = {name: admin.enrol(name, *roles) for name, roles in ROLES.items()}
    trust = admin.trust()
    people = {
        name: privgate.connect(url=url, token=issued.token, authority=authority, trust=trust)
        for name, issued in tokens.items()
    }
    owner, trainer, keeper = people["owner"], people["trainer"], people["keeper"]
    population = owner.create_population(
        unit_noun="patient", unit_domain="patients", public_size=500, epsilon=8, delta="0.000001"
    )
    dataset = owner.register_dataset(
        title="Doses <b>& outcomes</b>", population=population, schema=SCHEMA, sensitivity="confidential",
        unit={"kind": "record", "noun": "patient"}, purposes=["research"], legal_basis="gdpr-6-1-e-public-task",
        retention_until="2099-01-01",
    )  # fmt: skip
    rows = write_rows(folder / "rows.csv")
    broken = write_rows(folder / "broken.csv", wrong=True)
    with pytest.raises(UploadRefusedError) as caught:
        dataset.upload(broken)
    version = dataset.upload(rows)
    grant = owner.grant(
        principal=tokens["trainer"].principal,
        dataset=dataset,
        purpose=PURPOSE,
        until="2098-01-01",
        approval_required=True,
    )
    job = trainer.train(dataset.dataset, purpose=PURPOSE, epsilon=3, label="outcome")
    progress: list[Progress] = []
    owner.approve(job.job)
    done = job.wait(on_progress=progress.append)
    held = done.result()
    keeper.check_release(held.release, "release")
    fetched = trainer.releases[held.release].fetch()
    asked = trainer.evaluate(held.release, purpose=PURPOSE, epsilon="0.5", confusion=True, subgroups=["outcome"])
    owner.approve(asked.job)
    second = asked.wait().result()
    keeper.check_release(second.release, "release")
    return Cycle(
        url=url, authority=authority, trust=trust, people={"admin": admin, **people},
        tokens={name: issued.token for name, issued in tokens.items()},
        ids={name: issued.principal for name, issued in tokens.items()} | {"dataset": dataset.dataset},
        rows=rows, population=population, refused=caught.value.version, version=version, grant=grant, job=done,
        progress=progress, held=held, fetched=fetched, evaluated=second.fetch(),
        report=people["auditor"].issue_report(),
    )  # fmt: skip


def write_rows(path: Path, *, wrong: bool = False) -> Path:
    """Rows in which age and dose tell the outcome."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "dose", "outcome"])
        for i in range(600):
            age, dose = (i * 37) % 100 + i / 1000, (i * 61 % 101) / 101
            writer.writerow([age, "2" if wrong and i == 5 else dose, "ill" if age / 100 > dose else "well"])
    return path


def test_an_upload_is_sealed_or_refused_as_a_whole(cycle: Cycle) -> None:
    """Row, column and rule to the owner; no value; then how many rows each side has."""
    assert cycle.refused.problems == {
        "more": False,
        "problems": [{"column": "dose", "row": 6, "rule": "out-of-bounds"}],
    }
    assert cycle.version.state == "sealed"
    assert sum((cycle.version.rows or {}).values()) == 600


def test_progress_is_coarse_and_ends(cycle: Cycle) -> None:
    """Tens of a hundred, never back, and the end is told."""
    percents = [progress.percent for progress in cycle.progress]
    assert percents == sorted(percents)
    assert all(percent % 10 == 0 for percent in percents)
    assert (cycle.progress[-1].state, cycle.job.state) == ("finished", "finished")


def test_a_listing_is_read_page_by_page(cycle: Cycle) -> None:
    """With one object a page, nothing is lost and nothing comes twice."""
    trainer = cycle["trainer"]
    whole = [release.release for release in trainer.releases]
    pages = list(trainer.connection.pages("/v1/releases", limit=1))
    assert [release["release"] for page in pages for release in page] == whole
    assert len(whole) == 2
    assert max(map(len, pages)) == 1


def test_a_notebook_shows_collections_and_cards_escaped(cycle: Cycle) -> None:
    """The title of somebody else's dataset is text."""
    trainer = cycle["trainer"]
    for shown in (trainer.datasets._repr_html_(), trainer.datasets[cycle.dataset]._repr_html_()):
        assert "&lt;b&gt;&amp; outcomes&lt;/b&gt;" in shown
        assert "<b>& outcomes" not in shown
    assert cycle.held.release in trainer.releases._repr_html_()
    assert cycle.fetched.certificate.artifact in cycle.fetched._repr_html_()
    assert cycle.held.release in repr(cycle.fetched)
    assert len(repr(cycle.fetched)) < 200
    assert "trainer" in trainer._repr_html_()


def test_a_quote_says_what_fits(cycle: Cycle) -> None:
    """A job of the largest epsilon that is told fits; the one that is too large says which would."""
    trainer = cycle["trainer"]
    quote = trainer.quote(cycle.dataset, purpose=PURPOSE, epsilon="7.9", label="outcome")
    assert (quote.fits, quote.further) == (False, 0)
    assert quote.largest_epsilon is not None
    fitting = trainer.quote(cycle.dataset, purpose=PURPOSE, epsilon=quote.largest_epsilon, label="outcome")
    assert fitting.fits
    job = quote.submit()
    assert job.request_digest == quote.request_digest
    with pytest.raises(BudgetExhaustedError) as caught:
        cycle["owner"].approve(job)
    assert caught.value.largest_epsilon == quote.largest_epsilon
    with pytest.raises(JobEndedError):
        job.wait()


def test_the_owner_sees_the_request_that_an_approval_binds(cycle: Cycle) -> None:
    """In final form, and it is the one that was quoted."""
    shown = cycle["owner"].jobs[cycle.job.job]
    assert shown.request is not None
    assert shown.request["features"]["label"] == {"category": "ill", "column": "outcome", "encoding": "positive"}
    assert cycle["trainer"].quote_request(shown.request).request_digest == shown.request_digest


def test_a_job_sent_twice_under_one_key_is_one_job(cycle: Cycle) -> None:
    """And cancelling it gives its place back."""
    trainer, key = cycle["trainer"], "a-key-of-my-own"
    jobs = [trainer.train(cycle.dataset, purpose=PURPOSE, epsilon=1, label="outcome", key=key) for _ in range(2)]
    assert jobs[0].job == jobs[1].job
    assert trainer.cancel(jobs[0]).state == "cancelled"


def test_no_grant_no_quote_and_the_decision_is_named(cycle: Cycle) -> None:
    """Another trainer, another purpose."""
    with pytest.raises(DeniedError) as caught:
        cycle["peer"].quote(cycle.dataset, purpose=PURPOSE, epsilon=1, label="outcome")
    assert caught.value.reason == "grant-missing"
    assert str(caught.value.decision).startswith("dec_")
    with pytest.raises(DeniedError):
        cycle["trainer"].quote(cycle.dataset, purpose="research", epsilon=1, label="outcome")


def test_a_wrong_token_and_a_wrong_authority_are_told_apart(cycle: Cycle) -> None:
    """The first is not signed in; to the second no token is sent at all."""
    wrong = cycle.tokens["trainer"][:-4] + "aaaa"
    gateway = privgate.connect(url=cycle.url, token=wrong, authority=cycle.authority)
    with gateway, pytest.raises(NotSignedInError):
        gateway.whoami()
    gateway = privgate.connect(url=cycle.url, token=cycle.tokens["trainer"])
    with gateway, pytest.raises(ImpostorError, match="certificate"):
        gateway.whoami()


def test_nobody_is_let_in_with_a_role_that_there_is_not(cycle: Cycle) -> None:
    """Nobody is left behind without a role, with a token that nobody has."""
    before = {person.principal for person in cycle["admin"].principals}
    with pytest.raises(InvalidError, match="auditor"):
        cycle["admin"].enrol("Nemo", "auditr")
    assert {person.principal for person in cycle["admin"].principals} == before


def test_a_field_that_is_wrong_is_named(cycle: Cycle) -> None:
    """By the gateway, in its own words."""
    with pytest.raises(InvalidRequestError) as caught:
        cycle["trainer"].train(cycle.dataset, purpose=PURPOSE, epsilon=1000, label="outcome")
    assert caught.value.field == "epsilon"


def test_a_release_is_written_only_where_nothing_else_lies(cycle: Cycle, tmp_path: Path) -> None:
    """Again into the same place is fine; over another file it is refused."""
    for _ in range(2):
        cycle.fetched.write(tmp_path / "release")
    written = {path.name for path in (tmp_path / "release").iterdir()}
    assert written == {"model.safetensors", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md"}
    (tmp_path / "release" / "MODEL_CARD.md").write_text("mine")
    with pytest.raises(LocalConflict):
        cycle.fetched.write(tmp_path / "release")


def test_nothing_is_fetched_without_a_pin(cycle: Cycle) -> None:
    """Not even to look at it."""
    gateway = privgate.connect(url=cycle.url, token=cycle.tokens["trainer"], authority=cycle.authority)
    with gateway, pytest.raises(NotPinnedError):
        gateway.fetch_release(cycle.held.release)


FILES = {"certificate": "certificate.json", "receipt": "receipt.tlog-proof"}


def files_of(fetched: VerifiedRelease) -> dict[str, bytes]:
    """The files that are believed together."""
    return {"artifact": fetched.artifact, **{name: fetched.files[file] for name, file in FILES.items()}}


def test_what_was_fetched_is_believed(cycle: Cycle) -> None:
    """The files as they came, with the pins as they are."""
    found = believe(cycle.held.release, **files_of(cycle.fetched), trust=cycle.trust)
    assert found.certificate == cycle.fetched.certificate


@pytest.mark.parametrize("name", ["artifact", "certificate", "receipt"])
def test_any_flipped_byte_is_noticed(cycle: Cycle, name: str) -> None:
    """In every file, at places all over it."""
    files = files_of(cycle.fetched)
    for place in range(0, len(files[name]), max(1, len(files[name]) // 60)):
        data = bytearray(files[name])
        data[place] ^= 1
        with pytest.raises(PrivgateError):
            believe(cycle.held.release, **{**files, name: bytes(data)}, trust=cycle.trust)


@pytest.mark.parametrize("name", ["artifact", "certificate", "receipt"])
def test_genuine_files_of_another_release_are_refused(cycle: Cycle, name: str) -> None:
    """Each of them alone, and all of them under this release's name."""
    files, other = files_of(cycle.fetched), files_of(cycle.evaluated)
    with pytest.raises(CorruptError):
        believe(cycle.held.release, **{**files, name: other[name]}, trust=cycle.trust)
    with pytest.raises(CorruptError, match="another release"):
        believe(cycle.held.release, **other, trust=cycle.trust)


def test_other_pins_believe_nothing(cycle: Cycle) -> None:
    """Another certificate key, another log key, another tenant."""
    key = Ed25519Signer(bytes(range(32))).public_key
    for changes in (
        {"certificate_keys": (key,)},
        {"certificate_keys": ()},
        {"log_keys": (NoteKey(cycle.trust.origin, key),)},
        {"tenant": TenantId("ten_" + "a" * 26)},
    ):
        with pytest.raises(CorruptError):
            believe(cycle.held.release, **files_of(cycle.fetched), trust=dataclasses.replace(cycle.trust, **changes))


def test_the_model_scores_the_trainers_own_rows(cycle: Cycle) -> None:
    """Better than chance by far, although it is private; and the card says what it is."""
    with cycle.rows.open(newline="") as file:
        rows = list(csv.DictReader(file))
    model = cycle.fetched.scorer()
    found = model.evaluate(rows)
    assert found["auc"] > 0.9
    assert model.predict(rows[:3]) == [probability >= 0.5 for probability in model.probabilities(rows[:3])]
    assert cycle.held.release in cycle.fetched.card
    with pytest.raises(InvalidError):
        cycle.fetched.evaluation()


def test_a_release_is_predicted_explained_and_taken_apart_in_one_line_each(cycle: Cycle, tmp_path: Path) -> None:
    """Raw columns in; a torch module in eval mode with the weights' own numbers; a picture; and nothing is charged."""
    import pyarrow.csv
    import torch

    from privacy.graph.forward import forward
    from privacy.graph.weights import unpack_weights

    before = cycle["owner"].populations[cycle.population.population].blocks
    frame = pyarrow.csv.read_csv(cycle.rows)
    release = cycle["trainer"].releases[cycle.held.release]
    scorer = cycle.fetched.scorer()
    assert release.predict(frame) == cycle.fetched.predict(frame.to_pylist()) == scorer.predict(frame.to_pylist())
    module = release.model()
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    rows = torch.tensor([row for row in scorer.encoded(frame) if row is not None], dtype=torch.float32)
    with torch.no_grad():
        found = module(rows).numpy()
    weights = unpack_weights(scorer.graph.graph, cycle.fetched.artifact)
    wanted = forward(scorer.graph, weights, rows.numpy())
    assert abs(found - wanted).max() <= 1e-6 * abs(wanted).max()
    explained = release.explain(frame.slice(0, 32).to_pylist())
    assert explained.save(tmp_path / "explained.svg").read_text(encoding="utf-8").startswith("<svg")
    assert explained.about == cycle.held.release
    assert explained.gap < 1e-9
    assert cycle["owner"].populations[cycle.population.population].blocks == before


def test_an_evaluation_is_read_and_is_no_model(cycle: Cycle) -> None:
    """Accuracy with its interval, and noisy counts."""
    evaluation = cycle.evaluated.evaluation()
    assert {"value", "low", "high"} == set(evaluation["accuracy"])
    assert [one["class"] for one in evaluation["by_class"]] == ["well", "ill"]
    assert [group["group"] for group in evaluation["subgroups"][0]["groups"]] == ["well", "ill"]
    assert evaluation["release"] == cycle.held.release
    with pytest.raises(InvalidError):
        cycle.evaluated.scorer()


def test_a_report_is_verified_and_drawn_here(cycle: Cycle) -> None:
    """The gateway's own page is the same bytes; another report key is refused."""
    auditor = cycle["auditor"]
    path = f"/v1/reports/{cycle.report.report}/files/report.html"
    assert auditor.report_html(cycle.report).encode() == auditor.connection.get_bytes(path)
    other = dataclasses.replace(cycle.trust, report_keys=(Ed25519Signer(bytes(32)).public_key,))
    gateway = privgate.connect(url=cycle.url, token=cycle.tokens["auditor"], authority=cycle.authority, trust=other)
    with gateway, pytest.raises(CorruptError):
        gateway.report_json(cycle.report)
    forged = dataclasses.replace(cycle.report, digest="sha256:" + "0" * 64)
    with pytest.raises(CorruptError):
        auditor.report_json(forged)


def test_entries_are_read_to_the_end(cycle: Cycle, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small pages as in large ones, and reading is logged."""
    from privgate.sdk import auditor as module

    monkeypatch.setattr(module, "PAGE", 7)
    for _ in range(100):
        # That it was read is an entry, too, which has its place in the log a little later.
        entries = list(cycle["auditor"].entries())
        if any(entry.type == "log:read" for entry in entries):
            break
        time.sleep(0.05)
    assert [entry.payload["seq"] for entry in entries] == list(range(len(entries)))
    assert {"release:published", "budget:charged", "log:read"} <= {entry.type for entry in entries}


class Terminal:
    """The command line with profiles of its own."""

    def __init__(self, cycle: Cycle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PRIVGATE_CONFIG", str(folder / "config"))
        monkeypatch.delenv("PRIVGATE_TOKEN", raising=False)
        authority = folder / "ca.pem"
        authority.write_text(cycle.authority)
        trust = folder / "trust.json"
        trust.write_bytes(cycle.trust.to_bytes())
        for name, token in cycle.tokens.items():
            arguments = ["login", cycle.url, "--ca", str(authority), "--trust", str(trust), "-p", name]
            done = CliRunner().invoke(app, arguments, input=token + "\n")
            assert done.exit_code == 0, done.output
            assert token not in done.output

    def run(self, *arguments: object, code: int = 0) -> Any:
        """Run a command, demand its exit code, and return JSON, or standard error where it was refused."""
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, (arguments, done.output, done.exception)
        if code:
            return done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout


@pytest.fixture
def terminal(cycle: Cycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Everybody signed in."""
    return Terminal(cycle, tmp_path, monkeypatch)


def test_an_evaluation_is_priced_and_asked_for_with_flags(cycle: Cycle, terminal: Terminal) -> None:
    """What flags say becomes the request; the gateway fills in the rest, or names the field that is wrong."""
    asked = ("evaluations", "ask", cycle.held.release, "--purpose", PURPOSE, "--epsilon", "0.5", "-p", "trainer")
    plain, full = (
        terminal.run(*asked, "--quote", "--json", *more)
        for more in ((), ("--confusion", "--subgroup", "outcome", "--bins", 16, "--least-group", 10))
    )
    assert float(plain["charge"]) == pytest.approx(float(full["charge"]), rel=1e-4)
    shares = ("--share", "confusion=0.8", "--share", "scores=0.2")
    job = terminal.run(*asked, *shares, "--json")
    assert cycle["trainer"].jobs[job["job"]].request["shares"] == {"confusion": "0.8", "scores": "0.2"}  # type: ignore[index]
    terminal.run("jobs", "cancel", job["job"], "-p", "trainer")
    assert "shares" in terminal.run(*asked, "--share", "confusion=0.8", code=2)
    assert "part=0.5" in terminal.run(*asked, "--share", "confusion", code=2)


def test_figures_are_shown_by_name_with_their_intervals(cycle: Cycle, terminal: Terminal, tmp_path: Path) -> None:
    """From the gateway or from a file, as a table, as JSON, in a notebook; a changed figure is refused."""
    said = terminal.run("evaluations", "show", cycle.evaluated.release.release, "-p", "trainer")
    for name in ("accuracy", "precision of ill", "calibration error", "demographic parity difference, outcome"):
        assert name in said
    file = tmp_path / "evaluation.json"
    file.write_bytes(cycle.evaluated.artifact)
    body = terminal.run("evaluations", "show", file, "--json")
    assert body == json.loads(cycle.evaluated.artifact)
    shown = cycle.evaluated.evaluation()
    assert shown.figures[0].value == body["accuracy"]["value"]
    assert "<table>" in shown._repr_html_()
    file.write_bytes(cycle.evaluated.artifact.replace(body["accuracy"]["value"].encode(), b"0.1234"))
    terminal.run("evaluations", "show", file, code=2)


def test_every_reading_command_answers_people_and_machines(cycle: Cycle, terminal: Terminal) -> None:
    """As text and as JSON; what was asked for is in both."""
    population, release = cycle.population.population, cycle.held.release
    for arguments, said in (
        (("whoami", "-p", "trainer"), cycle.ids["trainer"]),
        (("datasets", "list", "-p", "trainer"), cycle.dataset),
        (("datasets", "card", cycle.dataset, "-p", "trainer"), "dose"),
        (("populations", "list", "-p", "owner"), population),
        (("populations", "show", population, "-p", "owner"), "patients"),
        (("populations", "budget", population, "-p", "owner"), "holdout"),
        (("grants", "list", "-p", "trainer"), cycle.grant.grant),
        (("jobs", "list", "-p", "trainer"), cycle.job.job),
        (("jobs", "show", cycle.job.job, "-p", "owner"), "sampling_rate"),
        (("jobs", "follow", cycle.job.job, "-p", "trainer"), "finished"),
        (("releases", "list", "-p", "keeper"), release),
        (("releases", "show", release, "-p", "trainer"), "released"),
        (("audit", "trust", "-p", "auditor"), cycle.trust.origin),
        (("audit", "entries", "-p", "auditor", "--limit", 4), "tenant:created"),
        (("report", "list", "-p", "auditor"), cycle.report.report),
        (("policy", "show", "-p", "auditor"), "checker"),
        (("policy", "purposes", "-p", "trainer"), PURPOSE),
    ):
        assert said in terminal.run(*arguments), arguments
        assert said in json.dumps(terminal.run(*arguments, "--json")), arguments


def test_refusals_have_their_exit_codes(cycle: Cycle, terminal: Terminal, tmp_path: Path) -> None:
    """3 by policy, 4 with the largest epsilon that fits, 8 for a state, 7 without a pin."""
    flags = ("--dataset", cycle.dataset, "--purpose", PURPOSE, "--label", "outcome")
    assert "decision: dec_" in terminal.run("quote", *flags, "--epsilon", "1", "-p", "peer", code=3)
    job = terminal.run("jobs", "submit", *flags, "--epsilon", "7.9", "-p", "trainer", "--json")["job"]
    said = terminal.run("jobs", "approve", job, "-p", "owner", code=4)
    quoted = terminal.run("quote", *flags, "--epsilon", "7.9", "-p", "trainer", "--json")
    assert f"largest epsilon: {quoted['largest_epsilon']}" in said
    assert "ended" in terminal.run("jobs", "cancel", cycle.job.job, "-p", "trainer", code=8)
    terminal.run("releases", "get", cycle.held.release, "-p", "peer", "--out", tmp_path / "no", code=3)
    assert not (tmp_path / "no").exists()


def test_a_release_that_is_got_can_be_verified_by_its_files(cycle: Cycle, terminal: Terminal, tmp_path: Path) -> None:
    """And a recalled one cannot be got again."""
    out = tmp_path / "release"
    got = terminal.run("releases", "get", cycle.evaluated.release.release, "-p", "trainer", "-o", out, "--json")
    assert set(got["files"]) == {"evaluation.json", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md"}
    trainer = privgate.connect("trainer")
    evaluated = trainer.releases[cycle.evaluated.release.release]
    cycle["owner"].recall_release(evaluated)
    with pytest.raises(ConflictError):
        evaluated.fetch()
    trainer.close()


def test_a_release_is_exported_and_its_file_verified(cycle: Cycle, terminal: Terminal, tmp_path: Path) -> None:
    """By two commands; a file in which a byte was changed ends with exit code 9."""
    path, small = tmp_path / "model.onnx", tmp_path / "small.onnx"
    told = terminal.run("releases", "export", cycle.held.release, "--onnx", path, "-p", "trainer", "--json")
    assert (told["steps"], told["bytes"]) == (["onnx"], path.stat().st_size)
    assert terminal.run("releases", "verify-onnx", path, "-p", "trainer", "--json")["exact"] is True
    told = terminal.run(
        "releases", "export", cycle.held.release, "--onnx", small, "--int8", "--calibrate", cycle.rows,
        "--prune", "0.5", "-p", "trainer",
    )  # fmt: skip
    assert "prune, int8, onnx" in told
    trust = tmp_path / "trust.json"
    trust.write_bytes(cycle.trust.to_bytes())
    assert "by its maker's word" in terminal.run("releases", "verify-onnx", small, "--trust", trust, "-p", "nobody")
    said = terminal.run("releases", "export", cycle.held.release, "--onnx", path, "--int8", "-p", "trainer", code=8)
    assert "holds something else" in said
    path.write_bytes(path.read_bytes().replace(b"Gemm", b"Conv"))
    terminal.run("releases", "verify-onnx", path, "--trust", trust, code=9)


def test_what_is_exported_and_reported_is_verified_offline(cycle: Cycle, terminal: Terminal, tmp_path: Path) -> None:
    """Log and report through the command; a flipped byte is found, a missing pin is not papered over."""
    bundle, trust = tmp_path / "bundle", tmp_path / "trust.json"
    terminal.run("report", "get", cycle.report.report, "-p", "auditor", "-o", tmp_path / "report")
    terminal.run("audit", "export", bundle, "-p", "auditor")
    terminal.run("audit", "export", bundle, "-p", "auditor", code=8)
    for name in ("report.json", "report.html"):
        (tmp_path / "report" / name).rename(bundle / name)
    for name, content in cycle.fetched.files.items():
        (bundle / "release").mkdir(exist_ok=True)
        (bundle / "release" / name).write_bytes(content)
    assert "VERIFIED" in terminal.run("verify", bundle, "--trust", trust)
    terminal.run("verify", bundle, code=9)
    victim = bundle / "audit" / "payloads" / "000000.jsonl"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    terminal.run("verify", bundle, "--trust", trust, code=1)


def test_an_owner_erases_the_version_that_a_later_one_replaced(
    cycle: Cycle, terminal: Terminal, tmp_path: Path
) -> None:
    """Not the one that jobs read; then the former one, by its id in the listing; a model of it stays what it is."""
    owner, fewer = cycle["owner"], tmp_path / "fewer.csv"
    fewer.write_text("".join(cycle.rows.read_text().splitlines(keepends=True)[:-1]))
    erase = ("datasets", "erase", cycle.dataset, cycle.version.version, "-p", "owner")
    assert "that jobs read" in terminal.run(*erase, code=8)
    later = owner.upload(cycle.dataset, fewer)
    terminal.run(*erase)
    listed = terminal.run("datasets", "versions", cycle.dataset, "--json", "-p", "owner")
    # Those of one second have no order: a refused upload may stand between them.
    states = {one["version"]: one["state"] for one in listed}
    assert (states[cycle.version.version], states[later.version]) == ("erased", "sealed")
    assert owner.version(cycle.dataset, cycle.version.version).rows is None
    assert cycle["trainer"].releases[cycle.held.release].fetch().certificate is not None
    with pytest.raises(DeniedError):
        cycle["trainer"].erase_version(cycle.dataset, later)


def test_signing_out_forgets(cycle: Cycle, terminal: Terminal) -> None:
    """Profile and pin are gone."""
    terminal.run("logout", "-p", "peer")
    terminal.run("whoami", "-p", "peer", code=7)

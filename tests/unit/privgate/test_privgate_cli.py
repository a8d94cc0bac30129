"""The command line by itself: parsing, exit codes, sentences, documents. What needs a gateway is in `_gateway`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from typer.testing import CliRunner

from kernel.errors import InvalidError
from policies.vocabulary import JobKind, LegalBasis, Sensitivity
from privacy.ingest.formats import Rule
from privgate.cli.app import app
from privgate.cli.documents import read_document
from privgate.cli.exits import Exit, explain
from privgate.cli.problems import _DO
from privgate.cli.quotes import read_request, written_request
from privgate.cli.screen import plain
from privgate.client.errors import error_for
from privgate.client.profiles import Profile, save
from privgate.declaring import require_complete

ROOT = Path(__file__).resolve().parents[3]
MANUAL = ROOT / "docs" / "CLI.md"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sign-in of whoever runs the tests is seen."""
    monkeypatch.setenv("PRIVGATE_CONFIG", str(tmp_path / "config"))
    for name in ("PRIVGATE_TOKEN", "PRIVGATE_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a command; return exit code, standard output and standard error."""
    done = CliRunner().invoke(app, list(arguments), input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command of the program with its full name."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child, inner in children.items():
            yield from walk(f"{name} {child}", inner)

    yield from walk("privgate", typer.main.get_command(app))


def test_every_command_explains_itself() -> None:
    """Each has a help text, and so has each of its options."""
    found = dict(commands())
    assert len(found) > 35
    for name, command in found.items():
        code, out, _ = run(*name.split()[1:], "--help")
        assert (code, bool(command.help)) == (0, True), name
        for parameter in command.params:
            assert getattr(parameter, "help", None), (name, parameter.name)
        assert "Usage:" in out


def test_no_command_takes_a_token_as_an_argument() -> None:
    """Arguments can be read by every user of the machine."""
    named = {name: {str(parameter.name) for parameter in command.params} for name, command in commands()}
    assert "privgate login" in named
    assert [name for name, parameters in named.items() if {"token", "password", "secret"} & parameters] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["quote", "--bad"], Exit.USAGE, "No such option"),
        (["quote"], Exit.USAGE, "--spec FILE"),
        (["quote", "--dataset", "x", "--epsilon", "1"], Exit.USAGE, "--purpose"),
        (["whoami"], Exit.NOT_FOUND, "privgate login"),
        (["whoami", "--profile", "../x"], Exit.USAGE, "Error: "),
        (["datasets", "check", "missing.csv", "--schema", "missing.json"], Exit.USAGE, "missing.json"),
        (["verify", "missing"], Exit.NOT_FOUND, "no directory"),
        (["nonsense"], Exit.USAGE, "No such command"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_an_exit_code(arguments: list[str], code: Exit, said: str) -> None:
    """On standard error, with nothing on standard output."""
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_an_address_without_tls_is_refused_before_the_token_is_used() -> None:
    """The field is named, and nothing is kept."""
    code, _, err = run("login", "http://gateway.example", stdin="pgw_secret\n")
    assert (code, "field: url" in err, "pgw_secret" in err) == (Exit.USAGE, True, False)


def test_nobody_at_the_address_is_unreachable() -> None:
    """Exit code 5; the profile is not kept."""
    code, _, err = run("login", "https://127.0.0.1:9", stdin="pgw_secret\n")
    assert (code, "Nobody answers" in err) == (Exit.UNREACHABLE, True)
    assert run("whoami")[0] == Exit.NOT_FOUND


PROBLEMS = [
    (403, {"code": "denied", "detail": "no", "reason": "grant-missing", "decision": "dec_x"}, Exit.DENIED),
    (409, {"code": "budget-exhausted", "detail": "no", "largest_epsilon": "6.4"}, Exit.EXHAUSTED),
    (409, {"code": "conflict", "detail": "no", "field": "job"}, Exit.CONFLICT),
    (409, {"code": "conflict", "detail": "no"}, Exit.CONFLICT),
    (412, {"code": "stale", "detail": "no"}, Exit.CONFLICT),
    (401, {"code": "unauthenticated", "detail": "no"}, Exit.NOT_SIGNED_IN),
    (404, {"code": "not-found", "detail": "no"}, Exit.NOT_FOUND),
    (422, {"code": "invalid", "detail": "no", "field": "epsilon"}, Exit.USAGE),
    (503, {"code": "unavailable", "detail": "no"}, Exit.UNREACHABLE),
    (500, {"code": "internal", "detail": "no", "correlation": "abc"}, Exit.FAILED),
]


@pytest.mark.parametrize(("status", "problem", "code"), PROBLEMS, ids=[str(code) for _, _, code in PROBLEMS])
def test_each_refusal_of_a_gateway_has_its_code_and_its_figures(
    status: int, problem: dict[str, str], code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sentence, field, decision and largest epsilon are all said."""
    assert explain(error_for(status, problem)) is code
    err = capsys.readouterr().err
    assert err.startswith("Error: No.\n")
    for name in ("reason", "decision", "largest_epsilon", "field", "correlation"):
        assert (f"{name.replace('_', ' ')}: {problem.get(name)}" in err) == (name in problem)


def test_a_bug_stays_a_traceback() -> None:
    """Only errors that were raised on purpose become sentences."""
    assert explain(ValueError("bug")) is None


def test_what_a_gateway_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are replaced wherever they come from."""
    explain(error_for(403, {"detail": "no\x1b[2J\x07", "decision": "\x9b31m"}))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", capsys.readouterr().err)
    assert plain("a\x1b]0;x\x07b\u202e") == "a\ufffd]0;x\ufffdb\ufffd"


def test_a_draft_is_written_and_nothing_is_overwritten(tmp_path: Path) -> None:
    """`datasets draft` never replaces a declaration that somebody completed."""
    rows, out = tmp_path / "rows.csv", tmp_path / "declaration.json"
    rows.write_text("age\n1\n")
    assert run("datasets", "draft", str(rows), "--out", str(out))[0] == 0
    assert json.loads(out.read_text())["schema"]["columns"] == [
        {"name": "age", "kind": "numeric", "low": "?", "high": "?"}
    ]
    code, _, err = run("datasets", "draft", str(rows), "--out", str(out))
    assert (code, "exists" in err) == (Exit.USAGE, True)


def test_a_bad_file_is_found_before_it_is_sent(tmp_path: Path) -> None:
    """Row, column and rule, never the value; exit code 1."""
    rows, schema = tmp_path / "rows.csv", tmp_path / "schema.yaml"
    rows.write_text("age\n7\nsecretvalue\n")
    schema.write_text("columns:\n  - {name: age, kind: numeric, low: 0, high: 99.5}\n")
    code, out, err = run("datasets", "check", str(rows), "--schema", str(schema), "--json")
    assert code == Exit.FAILED
    assert json.loads(out) == [{"column": "age", "row": 2, "rule": "not-a-number"}]
    assert "secretvalue" not in out + err


def test_problems_are_told_by_column_and_rule_with_what_to_do(tmp_path: Path) -> None:
    """However many rows break a rule, it is one line, with the first of them and the way to mend it."""
    rows, schema = tmp_path / "rows.csv", tmp_path / "schema.yaml"
    rows.write_text("alter\n7\n" + '""\n' * 8)
    schema.write_text("columns:\n  - {name: alter, kind: numeric, low: 0, high: 99}\n")
    code, out, err = run("datasets", "check", str(rows), "--schema", str(schema))
    assert (code, out.count("missing-value")) == (Exit.FAILED, 1)
    assert "2, 3, 4, 5, 6 and 3 more" in out
    assert "declare `fill`" in err
    assert "8 problems." in err


def test_each_rule_of_a_file_says_what_to_do() -> None:
    """Except those by which a gateway protects its own memory and time."""
    own = {"expands-too-far", "too-much-memory", "too-many-columns", "row-too-long", "did-not-finish"}
    assert set(_DO) == {rule.value for rule in Rule} - own


@pytest.mark.parametrize(
    ("written", "rule"), [("Gr\u00f6\u00dfe\n1\n".encode("latin-1"), "not-utf8"), (b"a\n1\n", "not-gzip")]
)
def test_a_file_in_another_encoding_is_told_as_that(tmp_path: Path, written: bytes, rule: str) -> None:
    """By the name of the rule that the gateway would use."""
    rows = tmp_path / ("rows.csv" if rule == "not-utf8" else "rows.csv.gz")
    rows.write_bytes(written)
    schema = tmp_path / "schema.json"
    schema.write_text('{"columns": [{"name": "a", "kind": "numeric", "low": "0", "high": "9"}]}')
    code, out, _ = run("datasets", "check", str(rows), "--schema", str(schema))
    assert (code, rule in out) == (Exit.FAILED, True)


@pytest.mark.parametrize("content", ["", "pgw token", "pgw_\u00fc"])
def test_what_is_no_token_is_said_before_anything_is_sent(content: str) -> None:
    """Nothing of it is echoed, and it is not told as a gateway that is down."""
    code, _, err = run("login", "https://127.0.0.1:9", stdin=content + "\n")
    assert (code, "field: token" in err) == (Exit.USAGE, True)
    assert not content or content not in err


@pytest.mark.parametrize("content", [b"", b"a host", b"\xff\x00 nothing"])
def test_a_file_that_is_no_authority_is_named(tmp_path: Path, content: bytes) -> None:
    """Whatever it holds; an empty one does not mean the system's authorities."""
    other = tmp_path / "ca.pem"
    other.write_bytes(content)
    code, _, err = run("login", "https://127.0.0.1:9", "--ca", str(other), stdin="pgw_secret\n")
    assert (code, "field: ca" in err) == (Exit.USAGE, True)


def test_no_token_is_asked_for_that_could_not_be_written(tmp_path: Path) -> None:
    """The file is made first: the gateway, which here cannot be reached, is not even asked."""
    save("default", Profile(url="https://127.0.0.1:9", token="pgw_secret"))
    taken = tmp_path / "token"
    taken.write_text("mine")
    code, _, err = run("people", "enrol", "Ada", "--token-file", str(taken))
    assert (code, "File exists" in err, taken.read_text()) == (Exit.USAGE, True, "mine")
    assert run("people", "enrol", "Ada", "--token-file", str(tmp_path / "fresh"))[0] == Exit.UNREACHABLE
    assert not (tmp_path / "fresh").exists()


def test_whole_numbers_in_a_written_request_are_amounts_where_amounts_are_meant(tmp_path: Path) -> None:
    """The example of the manual, word by word."""
    example = re.search(r"```yaml\n(dataset.*?)```", MANUAL.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "job.yaml").write_text(example[1].replace("steps: 80", "steps: 80, learning_rate: 1"))
    read = read_request(tmp_path / "job.yaml")
    assert (read["epsilon"], read["recipe"]) == ("3", {"steps": 80, "clip": "0.5", "learning_rate": "1"})


def test_the_declaration_of_the_manual_is_complete(tmp_path: Path) -> None:
    """Its example says everything, its values are of the lists that it names, and a file fits it."""
    example = re.search(r"```yaml\n(title.*?)```", MANUAL.read_text(), re.DOTALL)
    assert example is not None
    (tmp_path / "declaration.yaml").write_text(example[1])
    body = read_document(tmp_path / "declaration.yaml")
    require_complete(body)
    assert Sensitivity(body["sensitivity"])
    assert LegalBasis(body["legal_basis"]).is_gdpr_basis
    assert LegalBasis(body["special_condition"]).is_condition
    rows = tmp_path / "rows.csv"
    scan = " ".join(["0"] * 28 * 28)
    rows.write_text(f"patient_id,age,ward,crp,scan,readmitted,note\np1,40,surgery,n/a,{scan},no,not read\n")
    assert run("datasets", "check", str(rows), "--schema", str(tmp_path / "declaration.yaml"))[0] == Exit.OK


@pytest.mark.parametrize(
    ("name", "text"),
    [("job.json", '{"epsilon": 0.1, "n": 3, "big": 1e-6}'), ("job.yaml", "epsilon: 0.1\nn: 3\nbig: 1.0e-6\n")],
)
def test_fractions_in_documents_are_exact_text(tmp_path: Path, name: str, text: str) -> None:
    """No binary float stands between a person and the ledger."""
    path = tmp_path / name
    path.write_text(text)
    read = read_document(path)
    assert (read["epsilon"], read["n"]) == ("0.1", 3)
    assert float(read["big"]) == 1e-6


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "a: &x [1]\nb: *x\n"),
        ("a.yaml", "!!python/object/apply:os.system ['true']"),
        ("a.yaml", "a: [1"),
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.yaml", "- 1"),
    ],
)
def test_documents_hold_plain_objects_only(tmp_path: Path, name: str, text: str) -> None:
    """No alias bombs, no tags, no lists in place of an object."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidError):
        read_document(path)


def test_flags_become_a_request() -> None:
    """Only what was said; the gateway fills in the rest."""
    request = written_request(
        None, "dst_a", "research", "0.50", label="ill", model="logistic", recipe=["steps=20", "clip=0.5"], release=None
    )
    assert request == {
        "kind": "training",
        "dataset": "dst_a",
        "purpose": "research",
        "epsilon": "0.5",
        "label": "ill",
        "model": {"template": "logistic"},
        "recipe": {"steps": 20, "clip": "0.5"},
    }


def test_flags_beside_a_file_replace_what_it_says_or_are_refused(tmp_path: Path) -> None:
    """An epsilon on the command line wins; a label beside a file is a mistake."""
    spec = tmp_path / "job.json"
    spec.write_text('{"dataset": "dst_a", "purpose": "p", "epsilon": "3", "label": "ill"}')
    none = {"label": None, "model": None, "recipe": None, "release": None}
    assert written_request(spec, None, None, "1", **none)["epsilon"] == "1"
    with pytest.raises(InvalidError):
        written_request(spec, None, None, None, **(none | {"label": "x"}))


def test_commands_that_take_a_request_take_the_same_flags() -> None:
    """They are told once; what a file may say beside them is the same everywhere."""
    taken = {
        name.split()[-1]: {flag for parameter in command.params for flag in parameter.opts}
        for name, command in commands()
    }
    flags = {"--" + name.replace("_", "-") for name in inspect.signature(written_request).parameters}
    for name in ("quote", "rehearse", "submit"):
        assert flags <= taken[name], name
    assert "--home" in taken["ask"]


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({"label": "ill"}, "training"),
        ({"label": "ill", "tries": 3, "score_epsilon": "0.5"}, "tuning"),
        ({"release": "rel_a"}, "evaluation"),
        ({"family": "linear", "outcome": "age", "predictor": ["dose"]}, "glm"),
    ],
)
def test_a_job_of_any_kind_may_see_the_people_at_home_alone(flags: dict[str, Any], kind: str, tmp_path: Path) -> None:
    """`--home` is `rows: home`, with flags and beside a file."""
    said = {"dataset": "dst_a", "purpose": "research", "epsilon": "1"} | flags
    home, all_rows = written_request(**said, home=True), written_request(**said)
    assert (home["kind"], home["rows"]) == (kind, "home")
    assert {name: value for name, value in home.items() if name != "rows"} == all_rows
    assert all_rows.get("score_epsilon") == flags.get("score_epsilon")
    spec = tmp_path / "job.json"
    spec.write_text(json.dumps(all_rows))
    assert written_request(spec, home=True) == home


def test_the_manual_names_every_kind_of_job_that_a_grant_may_be_for() -> None:
    """In the option's own words, which the manual repeats."""
    for said in (manual_of("grants create"), run("grants", "create", "--help")[1]):
        told = " ".join(said.split())
        assert "may be repeated" in told
        for kind in JobKind:
            assert re.search(rf"[ ,]{re.escape(kind.value)}[ ,;]", told), kind


def manual_of(command: str) -> str:
    """A command's section."""
    return MANUAL.read_text(encoding="utf-8").partition(f"#### `privgate {command}`")[2].partition("####")[0]


def test_the_manual_names_every_command_option_and_exit_code() -> None:
    """`docs/CLI.md` and the program do not part."""
    manual = MANUAL.read_text(encoding="utf-8")
    sections = {part.split("`")[0]: part for part in manual.split("\n#### `")[1:]}
    assert set(sections) == {name for name, _ in commands()}
    for name, command in commands():
        for parameter in command.params:
            shown = next((o for o in parameter.opts if o.startswith("--")), str(parameter.metavar or parameter.name))
            assert f"`{shown}" in sections[name], (name, shown)
    for code in Exit:
        assert re.search(rf"^\| {int(code)} \|", manual, re.MULTILINE), code

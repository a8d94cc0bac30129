"""The confined child: what it cannot reach, how it ends, and that its parent outlives it."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import InvalidError, PrivgateError, UnavailableError
from privacy import child as child_main
from privacy.sandbox import landlock, seccomp, spawn
from privacy.sandbox.endings import Ending, ExitCode, Usage, ending_of
from privacy.sandbox.frames import ChannelClosedError
from privacy.sandbox.limits import Level, Limits, probe, require

ROOT = Path(__file__).parents[3]
HOSTILE = [sys.executable, "-P", "-s", str(ROOT / "tests/support/hostile_child.py")]
LIMITS = Limits(memory_bytes=2**31, cpu_seconds=30, wall_seconds=60, output_bytes=2**20)
needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(not seccomp.supported(), reason="no seccomp filters on this machine")
CLOSED = {"EACCES", "EPERM"}


def _start(
    role: str, limits: Limits = LIMITS, *, readable: Any = (), writable: Any = None, **request: Any
) -> spawn.Child:
    return spawn._start(HOSTILE, role, limits, readable, writable, request, Level.RLIMITS)


def _ask(role: str, limits: Limits = LIMITS, **options: Any) -> dict[str, Any]:
    with _start(role, limits, **options) as child:
        header, _ = child.channel.receive(timeout_seconds=50)
        assert child.wait(60) is Ending.FINISHED
    return header


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """No test leaves a process behind; what other tests of this process keep running is not theirs."""
    before = _children()
    yield
    assert _children() <= before


def _children() -> set[str]:
    found: set[str] = set()
    for thread in Path("/proc/self/task").iterdir():
        # A thread may end while it is looked at; its children are then those of another thread.
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= set((thread / "children").read_text().split())
    return found


# --- what a child can reach ------------------------------------------------------------------------------------------


@needs_seccomp
def test_no_socket_of_any_family_opens() -> None:
    """TCP, UDP, Unix, netlink, vsock and whatever else has a number: not permitted."""
    outcome = _ask("sockets")["outcome"]
    assert len(outcome) > 20
    assert set(outcome.values()) == {"EPERM"}


@needs_landlock
def test_only_the_named_files_are_read(tmp_path: Path) -> None:
    """The listed ciphertext opens; its neighbours, passwords, processes, temporary files and this checkout do not."""
    (tmp_path / "mine").mkdir()
    for name in ("mine/part", "other"):
        (tmp_path / name).write_bytes(b"x")
    allowed = [str(tmp_path / "mine/part"), str(Path(os.__file__))]
    refused = [
        "/etc/passwd", "/etc/shadow", "/etc/hostname", "/root", "/home", "/tmp", "/var/log", "/",
        "/proc/self/environ", "/proc/self/maps", f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/cmdline",
        str(tmp_path), str(tmp_path / "mine"), str(tmp_path / "other"), str(ROOT / "pyproject.toml"), str(ROOT),
        str(ROOT / "gateway/settings.py"),
    ]  # fmt: skip
    refused = [path for path in refused if Path(path).exists()]
    outcome = _ask("read", readable=[tmp_path / "mine/part"], paths=allowed + refused)["outcome"]
    assert {path: outcome[path] for path in allowed} == dict.fromkeys(allowed, "done")
    assert {path: outcome[path] for path in refused if outcome[path] not in CLOSED} == {}


@needs_landlock
@needs_seccomp
def test_only_the_named_folder_is_written(tmp_path: Path) -> None:
    """Inside the folder files come and go; outside nothing is made, changed, removed, moved, linked or re-owned."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "existing").write_bytes(b"original")
    before = (outside / "existing").stat()
    outcome = _ask("write", readable=[outside], writable=inside, outside=str(outside), inside=str(inside))["outcome"]
    within = {name: outcome.pop(name) for name in list(outcome) if name.startswith("inside")}
    assert set(within.values()) == {"done"}
    assert {name: what for name, what in outcome.items() if what not in CLOSED | {"EXDEV"}} == {}
    after = (outside / "existing").stat()
    assert (outside / "existing").read_bytes() == b"original"
    assert (after.st_mode, after.st_uid, after.st_mtime) == (before.st_mode, before.st_uid, before.st_mtime)
    assert not Path("/tmp/privgate-escape").exists()


@needs_seccomp
def test_no_other_process_is_started_seen_or_signalled() -> None:
    """No fork, no program, no ptrace, no signal to parent or group, no new limits or identity; itself it may signal."""
    outcome = _ask("processes")["outcome"]
    assert outcome.pop("signal-self") == "done"
    assert {name: what for name, what in outcome.items() if what not in ("EPERM", "ENOSYS")} == {}


def test_a_child_starts_with_nothing_of_ours() -> None:
    """Clean environment, own session, two descriptors besides the empty three, not dumpable, no way to gain rights."""
    os.environ["PRIVGATE_SECRET_OF_THE_PARENT"] = "x"
    try:
        seen = _ask("inspect")
    finally:
        del os.environ["PRIVGATE_SECRET_OF_THE_PARENT"]
    assert seen["environment"] == sorted([*spawn._ENVIRONMENT, "PYTHONPATH"])
    assert (seen["session"], seen["dumpable"], seen["no_new_privileges"], seen["folder"]) == (True, 0, 1, "/")
    assert len(seen["descriptors"]) == 5


# --- how a child ends ------------------------------------------------------------------------------------------------


def _until_closed(child: spawn.Child) -> list[dict[str, Any]]:
    received: list[dict[str, Any]] = []
    try:
        while True:
            received.append(child.channel.receive(timeout_seconds=50)[0])
    except ChannelClosedError:
        return received


def test_memory_without_end_ends_the_child() -> None:
    """Its address space is bounded: it gets less than its limit, and the parent goes on."""
    most = 200 * 2**20
    with _start("memory", replace(LIMITS, memory_bytes=most)) as child:
        received = _until_closed(child)
        assert child.wait(60) is Ending.KILLED_MEMORY
    assert 0 < received[-1]["bytes"] < most


def test_what_a_child_used_is_not_what_its_parent_is() -> None:
    """The kernel starts a child's peak at its parent's; what is reported never exceeds the child's own limit."""
    ballast = bytearray(os.urandom(1)) * (400 * 2**20)
    most = 150 * 2**20
    with _start("inspect", replace(LIMITS, memory_bytes=most)) as child:
        child.channel.receive(timeout_seconds=50)
        assert child.wait(60) is Ending.FINISHED
    assert child.usage is not None
    assert 0 < child.usage.peak_bytes <= most < len(ballast)


@pytest.mark.parametrize("deaf", [False, True])
def test_processor_time_without_end_ends_the_child(deaf: bool) -> None:
    """The limit holds for a child that ignores the signal, too; the time on the wall is not what ends it."""
    with _start("processor", replace(LIMITS, cpu_seconds=1, wall_seconds=600), deaf=deaf) as child:
        assert child.wait(60) is Ending.TIMED_OUT


def test_time_on_the_wall_ends_the_child() -> None:
    """Sleeping uses no processor and ends all the same; the channel ends with it."""
    with _start("sleep", replace(LIMITS, wall_seconds=1)) as child:
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            child.channel.receive()
        assert child.wait(60) is Ending.TIMED_OUT
        # Far below the 60 seconds of a child that has no such limit.
        assert time.monotonic() - started < 30


@pytest.mark.parametrize("role", ["one_long_file", "many_files"])
def test_output_over_quota_ends_the_child(tmp_path: Path, role: str) -> None:
    """One file or many: what was written stays near the quota."""
    with _start(role, writable=tmp_path, folder=str(tmp_path)) as child:
        assert child.wait(60) is Ending.OVER_QUOTA
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100 * 2**20


@needs_seccomp
def test_a_fork_bomb_does_not_start_and_threads_are_few() -> None:
    """Threads end at their number, and where root is not counted at the memory's: its stacks must fit into it."""
    limits, stack = replace(LIMITS, memory_bytes=300 * 2**20, processes=8), 4 * 2**20
    fit = limits.memory_bytes // stack
    started = _ask("threads", limits, stack_bytes=stack, most=2 * fit)["outcome"]["started"]
    assert started < (fit if os.geteuid() == 0 else 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@needs_seccomp
def test_threads_of_an_ordinary_user_end_at_their_number() -> None:
    """Started by somebody whom the kernel counts, a child has its 8 threads, or a few more as others of theirs end."""
    if not _runs_for_others():
        pytest.skip("the interpreter is not readable for other users")
    options = {"stack_bytes": 64 * 1024, "most": 100}
    parent = _parent("threads", options, processes=8, user=65534, group=65534, extra_groups=[])
    said, _ = parent.communicate(timeout=120)
    assert int(re.fullmatch(r"\[(\d+)\] finished", said.splitlines()[1])[1]) < 20  # type: ignore[index]


@pytest.mark.parametrize(
    ("role", "ending"),
    [
        ("crash", Ending.CRASHED),
        ("fail", Ending.CRASHED),
        ("leave", Ending.CRASHED),
        ("chatter", Ending.CRASHED),
        ("refuse", Ending.REFUSED),
    ],
)
def test_an_error_becomes_a_word(role: str, ending: Ending) -> None:
    """Faults, exceptions, exits with text and refusals end as one of a few words."""
    with _start(role) as child:
        assert child.wait(60) is ending


def test_a_caller_that_stops_a_child_is_told_so() -> None:
    """Kill and terminate end it, and so does leaving the block."""
    for verb in ("kill", "terminate"):
        with _start("sleep") as child:
            assert child.poll() is None
            getattr(child, verb)()
            assert child.wait(60) is Ending.STOPPED
            getattr(child, verb)()
    with _start("sleep") as child:
        pass
    assert child.poll() is Ending.STOPPED


def test_endings_follow_from_code_and_use() -> None:
    """A kill that nobody here sent is for memory, unless the processor time was used up."""
    idle, busy = Usage(0.5, 2**20), Usage(30.2, 2**20)
    cases = [
        (ExitCode.FINISHED, idle, Ending.FINISHED),
        (ExitCode.REFUSED, idle, Ending.REFUSED),
        (ExitCode.CRASHED, idle, Ending.CRASHED),
        (ExitCode.UNCONFINED, idle, Ending.CRASHED),
        (ExitCode.NO_MEMORY, idle, Ending.KILLED_MEMORY),
        (1, idle, Ending.CRASHED),
        (-signal.SIGKILL, idle, Ending.KILLED_MEMORY),
        (-signal.SIGKILL, busy, Ending.TIMED_OUT),
        (-signal.SIGXCPU, idle, Ending.TIMED_OUT),
        (-signal.SIGXFSZ, idle, Ending.OVER_QUOTA),
        (-signal.SIGSEGV, idle, Ending.CRASHED),
    ]
    assert [ending_of(code, usage, LIMITS) for code, usage, _ in cases] == [ending for *_, ending in cases]


# --- what a child says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["chatter", "fail", "leave", "crash", "memory", "inspect"])
def test_nothing_is_written_to_either_output(role: str, tmp_path: Path) -> None:
    """Even started with open outputs, a child writes nothing to them: no text, trace or abort message."""
    to_child, from_child = os.pipe(), os.pipe()
    with (tmp_path / "both").open("wb") as both:
        process = subprocess.Popen(
            [*HOSTILE, str(to_child[0]), str(from_child[1]), str(os.getpid())],
            stdout=both,
            stderr=both,
            pass_fds=(to_child[0], from_child[1]),
            env={"PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
        )
        limits = replace(LIMITS, memory_bytes=200 * 2**20)
        request = {"limits": limits.to_json(), "minimum": "rlimits", "readable": [], "writable": None}
        channel = spawn.Channel(from_child[0], to_child[1], deadline=time.monotonic() + 30)
        channel.send({**request, "role": role, "request": {}})
        process.wait(30)
    channel.close()
    for descriptor in (to_child[0], from_child[1]):
        os.close(descriptor)
    assert (tmp_path / "both").read_bytes() == b""


@pytest.mark.parametrize("then", ["wait", "leave"])
@pytest.mark.parametrize(
    "kind",
    [
        "garbage", "huge-header", "header-over-by-one", "huge-body", "body-over-by-one", "not-json", "empty-header",
        "not-an-object", "not-canonical", "float", "deep", "long-number", "half-header", "half-lengths", "half-body",
        "nothing",
    ],
)  # fmt: skip
def test_a_hostile_child_cannot_hang_or_crash_its_parent(kind: str, then: str) -> None:
    """Whatever it writes instead of a frame, the parent has an error of ours within its time and can end the child."""
    started = time.monotonic()
    with _start("raw", kind=kind, then=then) as child:
        with pytest.raises(PrivgateError):
            child.channel.receive(100, timeout_seconds=0.5)
        with pytest.raises(ChannelClosedError):
            child.channel.receive(100)
    assert child.poll() is not None
    assert time.monotonic() - started < 20


def test_a_flood_waits_in_the_pipe() -> None:
    """A child that sends without end is held by the pipe, not by the parent's memory."""
    with _start("flood") as child:
        for _ in range(100):
            assert child.channel.receive(100)[0] == {"m": "flood"}
        assert child.poll() is None


def test_both_sides_talk(tmp_path: Path) -> None:
    """Headers and bodies go there and back; the parent's key reaches the child over the channel alone."""
    with _start("echo") as child:
        for number in range(20):
            child.channel.send({"n": number}, os.urandom(number * 10_000))
            header, body = child.channel.receive(2**24)
            assert (header["n"], len(body)) == (number, number * 10_000)
        child.channel.send({"m": "stop"})
        child.channel.receive()
        assert child.wait(60) is Ending.FINISHED


# --- what must work inside -------------------------------------------------------------------------------------------


def test_torch_runs_inside() -> None:
    """Tensors, gradients, one thread, and denormals flushed, after the confinement."""
    pytest.importorskip("torch")
    said = _ask("torch")
    assert (said["gradient"], said["tiny"], said["threads"]) == ("262144.0", "0.0", 1)


def test_denormals_are_flushed_in_a_child_that_needs_no_torch() -> None:
    """RULES 14: whatever role a child has, no row can make a product slow."""
    assert _ask("numbers") == {"product": "0.0", "torch": False}


def test_a_row_is_identified_by_its_number_as_it_is() -> None:
    """At ingest a denormal number is part of who the row is, so that nothing is flushed there; elsewhere always."""
    assert {role for role in child_main.ROLES if role in child_main._EXACT_ROLES} == {"ingest"}


def test_a_sealed_part_is_read_inside(tmp_path: Path) -> None:
    """Numpy and pyarrow work on a named ciphertext file with a key that came over the channel, in 480 MiB."""
    pa = pytest.importorskip("pyarrow")
    from kernel.ids import DatasetId, TenantId, VersionId
    from privacy.sealing.deks import new_dek
    from privacy.sealing.manifest import PartAddress, Split
    from privacy.sealing.tables import PartWriter

    dek = new_dek(os.urandom)
    address = PartAddress.numbered(
        TenantId.new(os.urandom), DatasetId.new(os.urandom), VersionId.new(os.urandom), Split.TRAIN, 0
    )
    table = pa.table({"a": list(range(1000))})
    with (tmp_path / "part").open("wb") as sink, PartWriter(sink, table.schema, dek, address) as writer:
        for batch in table.to_batches():
            writer.write(batch)
        writer.finish()
    limits = replace(LIMITS, memory_bytes=480 * 2**20)
    path = tmp_path / "part"
    with _start("table", limits, readable=[path], path=str(path), address=address.aad) as child:
        child.channel.send({"m": "key"}, dek.reveal())
        assert child.channel.receive(timeout_seconds=50)[0] == {"total": 499_500}


# --- the parent ------------------------------------------------------------------------------------------------------

PARENT = """
import json, os, sys, time
from pathlib import Path
from privacy.sandbox import spawn
from privacy.sandbox.limits import Level, Limits
request, processes = json.loads(sys.argv[3])
limits = Limits(memory_bytes=2**31, cpu_seconds=30, wall_seconds=60, output_bytes=2**20, processes=processes)
command = [sys.executable, "-P", "-s", sys.argv[1]]
child = spawn._start(command, sys.argv[2], limits, [], None, request, Level.RLIMITS)
print(child.pid, child.level, flush=True)
if sys.argv[2] == "sleep":
    time.sleep(60)
print(sorted(set(child.channel.receive()[0]["outcome"].values())), child.wait(), flush=True)
"""


def _parent(
    role: str, request: dict[str, Any] | None = None, processes: int = 16, **options: Any
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARENT, HOSTILE[-1], role, json.dumps([request or {}, processes])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/", env=environment, **options)


def test_a_child_ends_with_its_parent() -> None:
    """When the parent is killed the child goes too, even one that never reads."""
    parent = _parent("sleep")
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[0])
    parent.kill()
    parent.communicate()
    # The child's own time on the wall is 60 seconds, which must not be what ends it.
    for _ in range(400):
        if _is_gone(pid):
            return
        time.sleep(0.05)
    pytest.fail("the child outlived its parent")


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has taken note yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    """A request handler's thread may end while its child works on."""
    import threading

    started: list[spawn.Child] = []
    thread = threading.Thread(target=lambda: started.append(_start("echo")))
    thread.start()
    thread.join()
    with started[0] as child:
        time.sleep(0.3)
        child.channel.send({"m": "stop"})
        assert child.channel.receive()[0] == {"m": "stop"}


def _runs_for_others() -> bool:
    command = [sys.executable, "-c", ""]
    try:
        return subprocess.run(command, user=65534, cwd="/", check=False, capture_output=True).returncode == 0
    except PermissionError:
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@needs_seccomp
def test_it_works_without_any_privilege() -> None:
    """The same confinement holds when the parent is an ordinary user."""
    if not _runs_for_others():
        pytest.skip("the interpreter is not readable for other users")
    parent = _parent("sockets", user=65534, group=65534, extra_groups=[])
    said, _ = parent.communicate(timeout=60)
    assert said.splitlines()[0].split()[1] == probe()
    assert said.splitlines()[1] == "['EPERM'] finished"


# --- levels and limits -----------------------------------------------------------------------------------------------


def test_a_level_covers_what_it_contains() -> None:
    """Both cover each, each covers itself and the limits, the limits cover only themselves."""
    both, files, calls, none = Level.LANDLOCK_AND_SECCOMP, Level.LANDLOCK, Level.SECCOMP, Level.RLIMITS
    covered = {(have, want) for have in Level for want in Level if have.covers(want)}
    expected = {(both, level) for level in Level} | {(level, level) for level in Level}
    assert covered == expected | {(files, none), (calls, none)}
    assert [Level.of(files=f, calls=c) for f in (True, False) for c in (True, False)] == [both, files, calls, none]


def test_a_host_below_the_least_level_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says what is missing and what to set, and no child is started."""
    with pytest.raises(UnavailableError, match="PRIVGATE_SANDBOX_LEVEL"):
        require(Level.LANDLOCK_AND_SECCOMP, Level.SECCOMP)
    require(Level.SECCOMP, Level.LANDLOCK_AND_SECCOMP)
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(UnavailableError):
        spawn.spawn("ingest", limits=LIMITS)


def test_a_child_that_does_not_come_up_is_refused(tmp_path: Path) -> None:
    """A role nobody knows, a path that does not exist, a program that fails: an error, and nothing left running."""
    if landlock.abi():
        with pytest.raises(UnavailableError, match="did not come up"):
            _start("echo", readable=[tmp_path / "missing"])
    with pytest.raises(UnavailableError):
        spawn._start(["/bin/false"], "echo", LIMITS, [], None, {}, Level.RLIMITS)
    with _start("no-such-role") as child:
        assert child.wait(60) is Ending.CRASHED


def test_the_shipped_roles_are_a_closed_table() -> None:
    """A role is looked up, never imported by name, and no test role is among them."""
    assert set(child_main.ROLES) == {
        "ingest", "train", "evaluate", "statistics", "tune", "glm", "synthesis",
        "he-keys", "he-encrypt", "he-add", "he-aggregate", "he-decrypt", "he-decrypt-sum", "he-ask",
        "he-infer", "he-read", "he-site", "he-blind", "he-blind-site",
    }  # fmt: skip
    assert {role for role in child_main.ROLES if role.startswith("he-")} == child_main._SCRATCH_ROLES
    for role in ("os", "privacy.child", "echo", "../train", ""):
        with pytest.raises(KeyError):
            child_main._runner(role)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_bytes": 1},
        {"cpu_seconds": 0},
        {"wall_seconds": 0},
        {"output_bytes": -1},
        {"open_files": 3},
        {"processes": 0},
    ],
)
def test_senseless_limits_are_refused(changes: dict[str, int]) -> None:
    """A limit that would let nothing, or everything, pass cannot be made."""
    with pytest.raises(InvalidError, match=next(iter(changes))):
        replace(LIMITS, **changes)
    assert Limits.from_json(LIMITS.to_json()) == LIMITS
    with pytest.raises(InvalidError):
        Limits.from_json({**LIMITS.to_json(), "more": 1})


HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


@pytest.mark.skipif(not HEADERS.exists(), reason="the kernel's headers are not installed")
def test_the_numbers_are_the_kernels() -> None:
    """Every system call in the tables has the number that the kernel's header gives it."""
    known = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", HEADERS.read_text())}
    for name, (number, _) in (seccomp.DENIED | seccomp.JUDGED).items():
        assert known.get(name) == number, name


def test_both_architectures_assemble() -> None:
    """The filters have whole instructions, end by allowing, and stay far below the kernel's 4,096."""
    for machine in ("x86_64", "aarch64"):
        code = seccomp.program(machine, 1234)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 1000
        assert code[-8:] == b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    assert errno.EPERM == 1

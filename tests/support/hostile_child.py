"""A confined child that misbehaves on purpose; started by the sandbox's tests, never by the program."""

from __future__ import annotations

import _thread
import ctypes
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kernel.errors import InvalidError
from privacy import child
from privacy.sandbox.frames import Channel

Request = Mapping[str, Any]


def attempt(action: Callable[[], object]) -> str:
    """Do it; say `done` or the name of the error number."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "other")
    return "done"


def echo(channel: Channel, request: Request) -> None:
    """Send every frame back until told to stop."""
    while True:
        header, body = channel.receive(2**24)
        channel.send(header, body)
        if header.get("m") == "stop":
            return


def sockets(channel: Channel, request: Request) -> None:
    """Try to open a socket of every family."""
    families = {family.name: family.value for family in socket.AddressFamily}
    outcome = {
        name: attempt(lambda family=family: socket.socket(family, socket.SOCK_STREAM))
        for name, family in families.items()
    }
    outcome["udp"] = attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    outcome["pair"] = attempt(socket.socketpair)
    channel.send({"outcome": outcome})


def read(channel: Channel, request: Request) -> None:
    """Try to read files and list folders."""

    def look(path: str) -> object:
        return [entry.name for entry in Path(path).iterdir()] if Path(path).is_dir() else Path(path).read_bytes()

    channel.send({"outcome": {path: attempt(lambda path=path: look(path)) for path in request["paths"]}})


def write(channel: Channel, request: Request) -> None:
    """Try to make, change, link, rename, remove and re-own files."""
    outside, inside = Path(request["outside"]), Path(request["inside"])
    existing = outside / "existing"
    channel.send(
        {
            "outcome": {
                "make": attempt(lambda: (outside / "new").write_bytes(b"x")),
                "change": attempt(lambda: existing.open("r+b").close()),
                "truncate": attempt(lambda: os.truncate(existing, 0)),
                "remove": attempt(existing.unlink),
                "folder": attempt((outside / "folder").mkdir),
                "rename": attempt(lambda: existing.rename(inside / "stolen")),
                "link": attempt(lambda: (inside / "hard").hardlink_to(existing)),
                "symlink": attempt(lambda: (inside / "soft").symlink_to(existing)),
                "chmod": attempt(lambda: existing.chmod(0o777)),
                "chown": attempt(lambda: os.chown(existing, 0, 0)),
                "times": attempt(lambda: os.utime(existing, (0, 0))),
                "attribute": attempt(lambda: os.setxattr(existing, "user.x", b"y")),
                "tmp": attempt(lambda: Path("/tmp/privgate-escape").write_bytes(b"x")),
                "shm": attempt(lambda: Path("/dev/shm/privgate-escape").write_bytes(b"x")),
                "inside": attempt(lambda: (inside / "result").write_bytes(b"x")),
                "inside-folder": attempt((inside / "sub").mkdir),
                "inside-again": attempt((inside / "result").unlink),
            }
        }
    )


def processes(channel: Channel, request: Request) -> None:
    """Try to start and to disturb processes, and to become somebody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()

    def call(number: int, *arguments: int) -> str:
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
        return "done" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "other")

    outcome = {
        "fork": attempt(os.fork),
        "posix_spawn": attempt(lambda: os.posix_spawn("/bin/true", ["true"], {})),
        "subprocess": attempt(lambda: subprocess.run(["/bin/true"], check=False)),
        "exec": attempt(lambda: os.execv("/bin/true", ["true"])),
        "signal-parent": attempt(lambda: os.kill(parent, signal.SIGTERM)),
        "signal-group": attempt(lambda: os.kill(0, 0)),
        "signal-all": attempt(lambda: os.kill(-1, 0)),
        "signal-self": attempt(lambda: os.kill(os.getpid(), 0)),
        "memfd": attempt(lambda: os.memfd_create("x")),
        "pidfd": attempt(lambda: os.pidfd_open(parent)),
        "setuid": attempt(lambda: os.setuid(os.getuid())),
        "priority": attempt(lambda: os.setpriority(os.PRIO_PROCESS, parent, 19)),
    }
    if os.uname().machine == "x86_64":
        outcome |= {
            "ptrace": call(101, 16, parent, 0, 0),
            "process_vm_readv": call(310, parent, 0, 0, 0, 0, 0),
            "unshare": call(272, 0x10000000),
            "io_uring": call(425, 8, 0),
            "clone3": call(435, 0, 0),
            "userfaultfd": call(323, 0),
            "bpf": call(321, 0, 0, 0),
            "keyctl": call(250, 0, 0, 0, 0, 0),
            "perf": call(298, 0, 0, 0, 0, 0),
            "lower-parent": call(302, parent, 7, ctypes.addressof(ctypes.create_string_buffer(16)), 0),
            "not-killed-with-parent": call(157, 1, 0, 0, 0, 0),
            "dumpable": call(157, 4, 1, 0, 0, 0),
            "x32": call(0x40000000 + 39),
        }
    channel.send({"outcome": outcome})


def threads(channel: Channel, request: Request) -> None:
    """Start threads until no more come up, each with the stack that was asked for; say how many did."""
    held, started = _thread.allocate_lock(), 0
    held.acquire()
    threading.stack_size(request["stack_bytes"])
    # The bare call: an object of `threading` waits for each thread to run, which takes long on a busy machine.
    with suppress(RuntimeError):
        while started < request["most"]:
            _thread.start_new_thread(held.acquire, ())
            started += 1
    channel.send({"outcome": {"started": started}})


def memory(channel: Channel, request: Request) -> None:
    """Allocate without end, and say after each piece how much there is."""
    kept = []
    while True:
        kept.append(bytearray(2**24))
        channel.send({"bytes": len(kept) * 2**24})


def processor(channel: Channel, request: Request) -> None:
    """Compute without end, deaf to the polite signal if asked."""
    if request.get("deaf"):
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def sleep(channel: Channel, request: Request) -> None:
    """Do nothing without end."""
    while True:
        time.sleep(1)


def one_long_file(channel: Channel, request: Request) -> None:
    """Write one file without end."""
    with Path(request["folder"], "long").open("wb") as stream:
        while True:
            stream.write(bytes(2**16))


def many_files(channel: Channel, request: Request) -> None:
    """Write short files without end."""
    number = 0
    while True:
        Path(request["folder"], str(number)).write_bytes(bytes(2**16))
        number += 1
        time.sleep(0.001)


def crash(channel: Channel, request: Request) -> None:
    """Follow a null pointer."""
    ctypes.string_at(0)


def fail(channel: Channel, request: Request) -> None:
    """Raise with a private value in the text."""
    raise ValueError("the patient's name is in this message")


def refuse(channel: Channel, request: Request) -> None:
    """Raise an error of our own."""
    raise InvalidError("no")


def leave(channel: Channel, request: Request) -> None:
    """Leave by the usual door, with text."""
    sys.exit("the patient's name is in this message")


def chatter(channel: Channel, request: Request) -> None:
    """Write to both outputs in every way there is, then fail."""
    print("private")
    print("private", file=sys.stderr, flush=True)
    os.write(1, b"private")
    os.write(2, b"private")
    warnings.warn("private", stacklevel=1)
    ctypes.CDLL(None).puts(b"private")
    ctypes.CDLL(None).fflush(None)
    raise ValueError("private")


def inspect(channel: Channel, request: Request) -> None:
    """Say what is seen from inside."""
    libc = ctypes.CDLL(None)
    channel.send(
        {
            "environment": sorted(os.environ),
            "session": os.getsid(0) == os.getpid(),
            "dumpable": libc.prctl(3, 0, 0, 0, 0),
            "no_new_privileges": libc.prctl(39, 0, 0, 0, 0),
            "descriptors": [fd for fd in range(64) if attempt(lambda fd=fd: os.fstat(fd)) == "done"],
            "folder": str(Path.cwd()),
            "role": request["role"],
        }
    )


def torch(channel: Channel, request: Request) -> None:
    """Multiply matrices, with gradients, inside; say the thread count and whether denormals are flushed."""
    import torch as t

    t.set_flush_denormal(True)
    t.set_num_threads(1)
    weight = t.ones(64, 64, requires_grad=True)
    loss = (t.ones(64, 64) @ weight).sum()
    loss.backward()
    tiny = t.tensor([1e-40]) * 1.0
    channel.send({"gradient": str(weight.grad.sum().item()), "tiny": str(tiny.item()), "threads": t.get_num_threads()})


def numbers(channel: Channel, request: Request) -> None:
    """Multiply numbers whose product is too small for a normal one; say what it is and whether torch was needed."""
    import numpy as np

    product = (np.array([1e-200] * 9) * 1e-120).max()
    channel.send({"product": repr(float(product)), "torch": "torch" in sys.modules})


def table(channel: Channel, request: Request) -> None:
    """Read a sealed part with numpy and pyarrow inside."""
    import numpy as np

    from kernel.ids import DatasetId, Slug, TenantId, VersionId
    from privacy.sealing.manifest import PartAddress
    from privacy.sealing.secret import SecretBytes
    from privacy.sealing.tables import PartReader

    _, dek = channel.receive(32)
    tenant, dataset, version, name = request["address"].split("/")
    address = PartAddress(
        tenant=TenantId(tenant), dataset=DatasetId(dataset), version=VersionId(version), name=Slug(name)
    )
    with PartReader(Path(request["path"]), SecretBytes(dek), address) as reader:
        total = int(np.sum(reader.read(["a"]).column("a").to_numpy()))
    channel.send({"total": total})


def raw(channel: Channel, request: Request) -> None:
    """Send bytes that are no frame, then wait or leave."""
    kind = request["kind"]
    header = b'{"m":"x"}'
    data = {
        "garbage": os.urandom(4096),
        "huge-header": struct.pack(">II", 2**32 - 1, 0),
        "header-over-by-one": struct.pack(">II", 2**20 + 1, 0),
        "huge-body": struct.pack(">II", len(header), 2**32 - 1) + header,
        "body-over-by-one": struct.pack(">II", len(header), 101) + header,
        "not-json": struct.pack(">II", 3, 0) + b"{{{",
        "empty-header": struct.pack(">II", 0, 0),
        "not-an-object": struct.pack(">II", 2, 0) + b"[]",
        "not-canonical": struct.pack(">II", 10, 0) + b'{"m": "x"}',
        "float": struct.pack(">II", 9, 0) + b'{"m":1.5}',
        "deep": struct.pack(">II", 200_000, 0) + b'{"m":' + b"[" * 199_995,
        "long-number": struct.pack(">II", 500_006, 0) + b'{"m":' + b"9" * 500_000 + b"}",
        "half-header": struct.pack(">II", 100, 0) + b"{",
        "half-lengths": b"\x00\x00",
        "half-body": struct.pack(">II", len(header), 50) + header + b"x" * 10,
        "nothing": b"",
    }[kind]
    os.set_blocking(channel._sending, True)
    if data:
        os.write(channel._sending, data)
    if request["then"] == "wait":
        sleep(channel, request)


def flood(channel: Channel, request: Request) -> None:
    """Send valid frames without end."""
    while True:
        channel.send({"m": "flood"}, bytes(100))


BEHAVIOURS = {
    behaviour.__name__: behaviour
    for behaviour in (
        echo, sockets, read, write, processes, threads, memory, processor, sleep, one_long_file, many_files, crash,
        fail, refuse, leave, chatter, inspect, torch, numbers, table, raw, flood,
    )
}  # fmt: skip

if __name__ == "__main__":
    child.main(sys.argv[1:], find=BEHAVIOURS.__getitem__)

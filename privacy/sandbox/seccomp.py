"""Seccomp: which system calls a confined child can still make.

Rules
-----
1. No sockets of any family, no other processes, no programs, no look into or signal to other processes, no change of
   rights, owners or limits, no mounts, keys, clocks or kernel modules. These fail with EPERM.
2. What the kernel learned after this table was written, io_uring and pidfds included, does not exist for the child
   (ENOSYS), except for a few harmless calls.
3. Another architecture's calls kill the process: the numbers would mean something else.

Reference: Linux, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from privacy.sandbox.system import call

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_SET_FILTER, _ALL_THREADS = 1, 1
_CLONE_THREAD = 0x00010000
_GUARDED_OPTIONS = (1, 4)
"""prctl: the signal at the parent's death, and being dumpable."""
_INPUT_IOCTLS = (0x5412, 0x541C)
"""ioctl: putting characters into a terminal's input."""
_NEWER_BUT_HARMLESS = (436, 437, 439, 441, 449, 454, 455, 456, 462)
"""close_range, openat2, faccessat2, epoll_pwait2, futex_waitv, futex_wake/wait/requeue, mseal: the same everywhere."""

# name: (x86_64, aarch64); None where the architecture has no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # sockets
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242),
    # other processes and programs
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # memory that others share, or that no limit counts
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "memfd_create": (319, 279), "userfaultfd": (323, 282),
    # rights, owners, times: what Landlock does not govern
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45),
    "mknod": (133, None), "mknodat": (259, 33), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # who we are and what we may use
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setgroups": (116, 159), "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91), "setrlimit": (160, 164), "personality": (135, 92),
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41), "mount": (165, 40),
    "umount2": (166, 39), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # the machine
    "bpf": (321, 280), "perf_event_open": (298, 241), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161),
    "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "settimeofday": (164, 170), "adjtimex": (159, 171), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "vhangup": (153, 58), "io_setup": (206, 0),
}  # fmt: skip
# name: (x86_64, aarch64) of the calls whose arguments decide.
JUDGED: dict[str, tuple[int, int]] = {
    "clone": (56, 220), "kill": (62, 129), "tgkill": (234, 131), "prctl": (157, 167), "prlimit64": (302, 261),
    "ioctl": (16, 29),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E, 317, 335), "aarch64": (1, 0xC00000B7, 277, 295)}
"""Column in the tables, audit architecture, number of seccomp itself, first number that the tables do not know."""


def supported() -> bool:
    """Whether this machine's architecture is known and its kernel has filters."""
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return False
    try:
        # GET_ACTION_AVAIL with an action every filter needs.
        call(machine[2], 2, 0, ctypes.create_string_buffer(struct.pack("=I", _ERRNO), 4))
    except OSError:
        return False
    return True


def restrict() -> None:
    """Install the filter on this process for good; raise `OSError` if the kernel refuses."""
    code = program(os.uname().machine, os.getpid())
    instructions = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions))
    number = _MACHINES[os.uname().machine][2]
    call(number, _SET_FILTER, _ALL_THREADS, ctypes.create_string_buffer(described, len(described)))


def program(machine: str, pid: int) -> bytes:
    """Assemble the filter for an architecture; only `pid` may be signalled."""
    column, architecture, _, first_new = _MACHINES[machine]
    judged = {name: numbers[column] for name, numbers in JUDGED.items()}
    return b"".join(
        (
            _step(_LOAD, _ARCHITECTURE),
            _step(_EQUAL, architecture, 1, 0),
            _step(_RETURN, _KILL),
            _step(_LOAD, _NUMBER),
            *(_step(_EQUAL, number, 0, 1) + _step(_RETURN, _ALLOW) for number in _NEWER_BUT_HARMLESS),
            # This also covers the x32 numbers of x86_64, which have bit 30 set.
            _step(_AT_LEAST, first_new, 0, 1) + _step(_RETURN, _ERRNO | errno.ENOSYS),
            *(_refuse(numbers[column]) for numbers in DENIED.values()),
            _judge(judged["clone"], 0, _step(_ANY_BIT, _CLONE_THREAD, 1, 0) + _step(_RETURN, _ERRNO | errno.EPERM)),
            *(
                _judge(judged[name], 0, _step(_EQUAL, pid, 1, 0) + _step(_RETURN, _ERRNO | errno.EPERM))
                for name in ("kill", "tgkill")
            ),
            _judge(judged["prctl"], 0, b"".join(_refuse(option) for option in _GUARDED_OPTIONS)),
            _judge(judged["ioctl"], 1, b"".join(_refuse(command) for command in _INPUT_IOCTLS)),
            _judge(judged["prlimit64"], 2, _refuse_unless_null(2)),
            _step(_RETURN, _ALLOW),
        )
    )


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(number: int | None) -> bytes:
    return b"" if number is None else _step(_EQUAL, number, 0, 1) + _step(_RETURN, _ERRNO | errno.EPERM)


def _judge(number: int, argument: int, verdict: bytes) -> bytes:
    """For one call, load the low half of an argument, run `verdict`, and allow if it fell through."""
    body = _step(_LOAD, _ARGUMENTS + 8 * argument) + verdict + _step(_RETURN, _ALLOW)
    return _step(_EQUAL, number, 0, len(body) // 8) + body


def _refuse_unless_null(argument: int) -> bytes:
    """Refuse unless both halves of a pointer are zero; the low half is loaded already."""
    refusal = _step(_RETURN, _ERRNO | errno.EPERM)
    high = _step(_LOAD, _ARGUMENTS + 8 * argument + 4) + _step(_EQUAL, 0, 1, 0) + refusal
    return _step(_EQUAL, 0, 1, 0) + refusal + high

"""Attempts on the kernel's doors: namespaces, mounts, keys, handles, devices, tunables, terminals, rights."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

from tests.hostile.inside.registry import Place, Row
from tests.hostile.inside.system_calls import call, libc

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000

rights = Row("privileges")


def status(field: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


@rights()
def rise_by_a_setuid_program(_place: Place) -> bool:
    return status("NoNewPrivs") == "0"


@rights(root=True)
def keep_capabilities(_place: Place) -> bool:
    return int(status("CapEff"), 16) != 0


@rights(root=True, doubtful="a container without CAP_SYS_ADMIN")
def name_the_machine(_place: Place) -> bool:
    name = socket.gethostname().encode()  # as it is called already
    call("sethostname", name, len(name))
    return True


@rights(root=True, doubtful="a container without CAP_SYS_CHROOT")
def change_its_root(place: Place) -> bool:
    pid = os.fork()
    if pid == 0:
        with suppress(OSError):
            os.chroot(place.out)
        os._exit(0 if Path("/place.json").exists() else 1)
    return os.waitpid(pid, 0)[1] == 0


@rights(root=True, doubtful="a container without CAP_SYS_MODULE, or a kernel without modules")
def load_a_kernel_module(_place: Place) -> bool:
    try:
        call("init_module", b"no module", 9, b"")
    except OSError as error:
        if error.errno == 8:  # ENOEXEC: it was looked at
            return True
        raise
    return True


namespaces = Row("namespaces")


@namespaces(doubtful="user namespaces are switched off")
def make_a_user_namespace(_place: Place) -> bool:
    return call("unshare", CLONE_NEWUSER) == 0


@namespaces(doubtful="user namespaces are switched off")
def mount_in_a_user_namespace(place: Place) -> bool:
    call("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    target = str(place.out / "tmp").encode()
    call("mount", b"none", target, b"tmpfs", 0, b"size=64k")
    return True


@namespaces(doubtful="user namespaces are switched off")
def make_a_user_namespace_by_clone3(_place: Place) -> bool:
    arguments = (ctypes.c_uint64 * 11)(CLONE_NEWUSER, 0, 0, 0, 17)
    pid = call("clone3", ctypes.byref(arguments), 88)
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


@namespaces(doubtful="another processor, a kernel without 32 bits, user namespaces switched off")
def make_a_user_namespace_in_32_bits(_place: Place) -> bool:
    """unshare(CLONE_NEWUSER) by the old gate, where the numbers are others."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    if os.uname().machine != "x86_64":
        return False
    code.write(bytes.fromhex("53 b836010000 bb00000010 cd80 5b c3"))
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() == 0


@namespaces(root=True, doubtful="a container without CAP_SYS_ADMIN")
def enter_the_namespace_of_another(place: Place) -> bool:
    descriptor = os.open(f"/proc/{place.pids['holder']}/ns/mnt", os.O_RDONLY)
    call("setns", descriptor, CLONE_NEWNS)
    return True


doors = Row("namespaces")


@doors(root=True, doubtful="a kernel without bpf, or a container")
def make_a_bpf_map(_place: Place) -> bool:
    os.close(call("bpf", 0, struct.pack("=5I", 2, 4, 4, 1, 0) + bytes(100), 120))
    return True


@doors(doubtful="a kernel without perf, or perf_event_paranoid")
def open_a_perf_event(_place: Place) -> bool:
    attributes = struct.pack("=IIQQQQQ", 1, 112, 1, 0, 0, 0, 1 << 5) + bytes(112 - 48)  # software, task clock
    os.close(call("perf_event_open", attributes, 0, -1, -1, 0))
    return True


@doors(doubtful="a kernel without userfaultfd")
def open_a_userfaultfd(_place: Place) -> bool:
    os.close(call("userfaultfd", 1))  # UFFD_USER_MODE_ONLY
    return True


@doors(doubtful="a kernel without io_uring, or kernel.io_uring_disabled")
def set_up_an_io_uring(_place: Place) -> bool:
    os.close(call("io_uring_setup", 1, (ctypes.c_char * 120)()))
    return True


keys = Row("keyrings")


@keys(steals="keyring", doubtful="a container without keys")
def read_a_key_of_yours(place: Place) -> bytes:
    key = call("request_key", b"user", f"haikud-hostile-{place.token}".encode(), None, -4)
    kept = ctypes.create_string_buffer(256)
    call("keyctl", 11, key, kept, 256)  # KEYCTL_READ
    return kept.raw


memory, handles = Row("ipc"), Row("read")


@memory(steals="System V")
def read_system_v_memory(place: Place) -> bytes:
    identifier = call("shmget", place.values["shm_key"], 4096, 0)
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(identifier, None, 0o10000)  # SHM_RDONLY
    if at in {None, ctypes.c_void_p(-1).value}:
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(at, 200)


@handles(steals="ssh", root=True, doubtful="a filesystem without handles, or a container")
def open_a_file_by_its_handle(place: Place) -> bytes:
    handle = bytes.fromhex(place.values["handle"])
    mount = os.open(place.out, os.O_RDONLY)
    descriptor = call("open_by_handle_at", mount, handle, os.O_RDONLY)
    return os.read(descriptor, 4096)


devices = Row("devices")


@devices(root=True, doubtful="no block device is there")
def read_the_raw_disk(_place: Place) -> bool:
    for name in os.listdir("/sys/class/block"):  # noqa: PTH208 -- names alone
        path = Path("/dev") / name
        try:
            with path.open("rb", buffering=0) as disk:
                if disk.read(512):
                    return True
        except OSError:
            continue
    return False


@devices(root=True, doubtful="a container's devices")
def make_a_device(place: Place) -> bool:
    path = place.out / "device"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 0))
    path.unlink()
    return True


@devices(root=True, doubtful="a container's devices")
def write_the_kernel_log(_place: Place) -> bool:
    os.close(os.open("/dev/kmsg", os.O_WRONLY))
    return True


@devices(root=True, doubtful="a container's devices, or a kernel without /dev/mem")
def open_physical_memory(_place: Place) -> bool:
    os.close(os.open("/dev/mem", os.O_RDONLY))
    return True


@devices(root=True, doubtful="/proc/sys is mounted read-only")
def set_the_core_pattern(_place: Place) -> bool:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return True


@devices(root=True, doubtful="/proc is a container's")
def reboot_by_sysrq(_place: Place) -> bool:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))
    return True


@devices(root=True, doubtful="no cgroup filesystem that may be written")
def leave_its_cgroup(_place: Place) -> bool:
    for top in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
        try:
            os.close(os.open(top / "cgroup.procs", os.O_WRONLY))
        except OSError:
            continue
        return True
    return False


terminal = Row("terminals")


@terminal(reaches="terminal")
def write_to_a_terminal(place: Place) -> None:
    descriptor = os.open(place.values["terminal"], os.O_WRONLY | os.O_NOCTTY)
    os.write(descriptor, b"write_to_a_terminal")


TIOCSTI = 0x5412


@terminal(root=True, doubtful="dev.tty.legacy_tiocsti is 0")
def type_into_a_terminal(place: Place) -> bool:
    descriptor = os.open(place.values["terminal"], os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(descriptor, TIOCSTI, b"x")
    return True

"""The walls of modes bwrap and landlock, with real commands; mode none shows that each attempt is a real one."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from haikud.contracts.settings import SandboxSettings
from haikud.sandbox.commands import CannotStart, Ended
from haikud.sandbox.egress.gate import open_egress
from haikud.sandbox.environment import git_variables
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy

WALLS = ["bwrap", "landlock"]
ALL = [*WALLS, "none"]
GIT = git_variables(("Agent", "agent@example.com"))

Run = Callable[..., tuple[Ended, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script in a worktree of its own, beside a secret that no policy names."""
    worktree, out = tmp_path / "work" / "tree", tmp_path / "spool" / "out"
    (out / "tmp").mkdir(parents=True)
    worktree.mkdir(parents=True)
    (tmp_path / "spool" / "secret").write_text("the secret\n")

    def run(
        mode: str,
        script: str,
        settings: dict[str, Any] | None = None,
        *,
        out_by: bool = False,
        path: str | None = None,
        **named: Any,
    ) -> tuple[Ended, str]:
        chosen = SandboxSettings.model_validate(settings or {})
        policy = Policy(mode=mode, writable=(worktree, out), temporary=out / "tmp", settings=chosen, **named)
        output: list[bytes] = []
        sandbox = Sandbox(policy, open_egress(print, {})(policy) if out_by else None)
        env = {"PATH": path or os.environ["PATH"], "HAIKUD_OUT": str(out), "TMPDIR": str(out / "tmp"), "HOME": str(out)}
        try:
            ended = sandbox.run(
                ["bash", "-c", script],
                cwd=worktree,
                env=env | GIT | sandbox.environment(),
                timeout=120.0,
                grace=1.0,
                on_output=output.append,
            )
        finally:
            sandbox.close()
        return ended, b"".join(output).decode(errors="replace")

    return run


@pytest.mark.parametrize("mode", ALL)
def test_the_worktree_and_out_can_be_written_and_what_was_written_stays(run: Run, tmp_path: Path, mode: str):
    ended, output = run(mode, "echo a > file && mkdir -p x/y && mv file x/y/ && echo b > $HAIKUD_OUT/b && exit 7")
    assert ended.exit_code == 7, output
    assert (tmp_path / "work/tree/x/y/file").read_text() == "a\n"
    assert (tmp_path / "spool/out/b").read_text() == "b\n"


@pytest.mark.parametrize("mode", ALL)
def test_what_no_policy_names_is_neither_read_nor_written(run: Run, tmp_path: Path, mode: str):
    secret = tmp_path / "spool" / "secret"
    script = f"cat {secret}; cat /etc/shadow; echo mine > {tmp_path}/spool/new; echo mine > {secret}; rm {secret}"
    _, output = run(mode, script)
    held = mode != "none"
    assert ("the secret" not in output) == held
    assert ("root:" not in output) == (held or os.geteuid() != 0)
    assert (tmp_path / "spool" / "new").exists() != held
    assert secret.exists() == held


@pytest.mark.parametrize("mode", WALLS)
def test_tmp_is_the_commands_own_and_stays_from_one_command_to_the_next(run: Run, tmp_path: Path, mode: str):
    place = "/tmp" if mode == "bwrap" else "$TMPDIR"
    ended, output = run(mode, f"echo kept > {place}/mine && [ $(stat -c %a {place}) != 1777 ] && echo own")
    assert (ended.exit_code, output) == (0, "own\n")
    ended, output = run(mode, f"cat {place}/mine; cat $TMPDIR/mine")
    assert output == "kept\nkept\n"
    assert (tmp_path / "spool/out/tmp/mine").read_text() == "kept\n"


@pytest.mark.parametrize("mode", WALLS)
def test_links_put_in_place_of_what_is_mounted_lead_nowhere(run: Run, tmp_path: Path, mode: str):
    """A command replaces the folders that stand for /tmp and for the way through it; the next one is no wiser."""
    first = tmp_path.parts[2] if tmp_path.is_relative_to("/tmp") else "pytest"
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "secret").write_text("the secret\n")
    run(mode, f"mv $TMPDIR $TMPDIR.old; mkdir $TMPDIR; ln -s {planted} $TMPDIR/{first}")
    assert (tmp_path / "spool/out/tmp" / first).is_symlink()
    _, output = run(mode, f"ls $TMPDIR/{first}/ /tmp/{first}/; cat $TMPDIR/{first}/secret; echo x > $TMPDIR/{first}/x")
    assert "the secret" not in output
    run(mode, f"mv $HAIKUD_OUT/tmp $HAIKUD_OUT/older; ln -s {planted} $HAIKUD_OUT/tmp")
    assert (tmp_path / "spool/out/tmp").is_symlink()
    _, output = run(mode, "cat /tmp/secret $TMPDIR/secret; echo x > /tmp/x; echo x > $TMPDIR/y")
    assert "the secret" not in output
    assert sorted(path.name for path in planted.iterdir()) == ["secret"]


@pytest.mark.parametrize("mode", WALLS)
def test_what_the_settings_name_in_a_writable_folder_is_not_followed_out_of_it(run: Run, tmp_path: Path, mode: str):
    """A command of an earlier attempt put links there."""
    home, tree = tmp_path / "home", tmp_path / "work" / "tree"
    (home / "base" / "bin").mkdir(parents=True)
    (home / "secret").write_text("the secret\n")
    (tree / "venv" / "bin").mkdir(parents=True)
    (tree / "venv" / "pyvenv.cfg").write_text(f"home = {home}/base/bin\n")
    (home / "base" / "secret").write_text("the secret\n")
    (tree / "cache").symlink_to(home)
    (tree / "named").symlink_to(home)
    settings = {"writable": [f"{tree}/cache"], "readable": [f"{tree}/named", f"{tree}/named/secret"]}
    script = f"cat cache/secret named/secret {home}/secret {home}/base/secret; echo x > cache/new; touch mine"
    _, output = run(mode, script, settings, path=f"{tree}/venv/bin:{os.environ['PATH']}")
    assert "the secret" not in output
    assert not (home / "new").exists()
    assert (tree / "mine").exists()


@pytest.mark.parametrize("mode", ALL)
def test_what_is_hidden_stays_so_in_a_readable_folder_and_what_is_named_in_it_does_not(
    run: Run, tmp_path: Path, mode: str
):
    project = tmp_path / "project"
    for name in ("spool/task/named", "spool/other", "src"):
        (project / name).mkdir(parents=True)
        (project / name / "file").write_text(f"{name}\n")
    script = f"cd {project}; cat src/file spool/task/named/file spool/other/file; echo x > src/new"
    named = {"readable": (project, project / "spool/task/named"), "hidden": (project / "spool",)}
    _, output = run(mode, script, **named)
    assert "src\n" in output
    assert "spool/task/named\n" in output
    assert ("spool/other\n" in output) == (mode == "none")
    assert (project / "src/new").exists() == (mode == "none")


@pytest.mark.parametrize("mode", WALLS)
def test_a_writable_folder_with_something_hidden_in_it_is_refused(run: Run, tmp_path: Path, mode: str):
    with pytest.raises(CannotStart, match="must stay hidden"):
        run(mode, "true", {"writable": [str(tmp_path)]}, hidden=(tmp_path / "spool" / "secret",))


@pytest.mark.parametrize("mode", ALL)
def test_other_processes_can_be_neither_read_nor_signalled(run: Run, mode: str):
    with subprocess.Popen(["sleep", "600"], env={"SECRET": "in the environment"}) as other:
        try:
            script = f"cat /proc/{other.pid}/environ; ls -l /proc/{other.pid}/fd/; kill -0 {other.pid} && echo reached"
            own = "grep -ac HAIKUD_OUT /proc/self/environ"
            _, output = run(mode, f"{script}; head -c 10 /proc/{other.pid}/mem; {own}")
        finally:
            other.kill()
    assert ("in the environment" in output) == (mode == "none")
    assert ("reached" in output) == (mode == "none")
    assert output.endswith("1\n")  # one's own can be read


@pytest.mark.parametrize("mode", WALLS)
def test_limits_hold_and_no_privilege_is_left(run: Run, mode: str):
    settings = {"file_bytes": 1_048_576, "memory_bytes": 4_294_967_296, "processes": 5000}
    script = "ulimit -c; ulimit -f; ulimit -v; ulimit -u; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
    ended, output = run(mode, f"{script}; head -c 2000000 /dev/zero > large; stat -c %s large", settings)
    lines = output.split()
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    assert lines[:4] == ["0", "1024", "4194304", str(5000 if most == resource.RLIM_INFINITY else min(5000, most))]
    for name, value in (("CapEff:", "0" * 16), ("CapBnd:", "0" * 16), ("NoNewPrivs:", "1"), ("Seccomp:", "2")):
        assert lines[lines.index(name) + 1] == value
    assert lines[-1] == "1048576"
    assert ended.exit_code == 0


@pytest.fixture
def server() -> Iterator[int]:
    """A port on the machine's loopback that says hello."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.sendall(b"hello\n")
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


CONNECT = "(exec 3<>/dev/tcp/127.0.0.1/{port} && head -1 <&3)"


@pytest.mark.parametrize("mode", ALL)
def test_of_the_machines_ports_only_the_named_ones_can_be_reached(run: Run, server: int, mode: str):
    assert ("hello" in run(mode, CONNECT.format(port=server), out_by=True)[1]) == (mode == "none")
    assert "hello" in run(mode, CONNECT.format(port=server), out_by=True, ports=(server,))[1]
    assert "hello" in run(mode, CONNECT.format(port=server), {"network": "off"}, out_by=True, ports=(server,))[1]
    assert "hello" in run(mode, CONNECT.format(port=server), {"network": "open"})[1]


@pytest.mark.parametrize("mode", WALLS)
def test_the_proxy_is_there_where_hosts_are_listed_and_only_there(run: Run, mode: str):
    ask = "echo ${{http_proxy:-none}}; exec 3<>/dev/tcp/127.0.0.1/${{http_proxy##*:}} && printf '{}' >&3 && head -1 <&3"
    script = "ls /proc/self/fd | wc -l; " + ask.format(
        "GET http://not-listed.example/ HTTP/1.1\\r\\nHost: not-listed.example\\r\\n\\r\\n"
    )
    output = run(mode, script, out_by=True)[1]
    descriptors, proxy, *_ = output.split()
    assert descriptors == "4"  # 0, 1, 2 and ls's own: none of the launcher's
    assert proxy.startswith("http://")
    assert "HTTP/1.1 40" in output  # refused: not listed (403), or no password (407)
    assert run(mode, "echo ${http_proxy:-none}", {"network": "off"}, out_by=True)[1] == "none\n"


@pytest.mark.parametrize("mode", WALLS)
def test_git_works_with_objects_borrowed_from_a_repository_that_cannot_be_written(run: Run, tmp_path: Path, mode: str):
    def git(*words: str, at: Path) -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **GIT}
        return subprocess.run(["git", "-C", at, *words], env=env, check=True, capture_output=True, text=True).stdout

    repository, private = tmp_path / "repository", tmp_path / "spool/git"
    repository.mkdir()
    git("init", "-q", "-b", "main", at=repository)
    (repository / "file").write_text("one\n")
    git("add", "file", at=repository)
    git("commit", "-qm", "one", at=repository)
    git("clone", "-q", "--bare", "--shared", str(repository), str(private), at=tmp_path)
    git("config", "core.bare", "false", at=private)
    (tmp_path / "work/tree/.git").write_text(f"gitdir: {private}\n")
    script = """
    git reset -q --hard && git status && echo two > file && git add -A && git commit -qm two && git log --oneline &&
    git diff HEAD~1 && echo three >> file && git stash -q && git stash pop -q && git checkout -q -b side && git branch &&
    git commit -qam three && git checkout -q main && git merge -q side && git gc -q && git fsck && echo all is well
    """
    objects = repository / ".git" / "objects"
    worktree, out = tmp_path / "work/tree", tmp_path / "spool/out"
    policy = Policy(mode=mode, writable=(worktree, out, private), readable=(objects,), temporary=out / "tmp")
    output: list[bytes] = []
    env = {"PATH": os.environ["PATH"], "HOME": str(out), "TMPDIR": str(out / "tmp"), **GIT}
    options: dict[str, Any] = {"cwd": worktree, "env": env, "timeout": 120.0, "grace": 1.0}
    Sandbox(policy).run(["bash", "-c", script], on_output=output.append, **options)
    assert b"all is well" in b"".join(output), b"".join(output).decode()
    before = git("rev-parse", "main", at=repository)
    attack = f"cd {repository}; echo x > .git/hooks/pre-commit; git update-ref refs/heads/main {'0' * 40}; rm -rf .git"
    Sandbox(policy).run(["bash", "-c", attack], on_output=output.append, **options)
    assert git("rev-parse", "main", at=repository) == before
    assert not (repository / ".git/hooks/pre-commit").exists()

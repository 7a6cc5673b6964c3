"""Attempts on the repository: its git folder, other checkouts, and what git would run for somebody else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.hostile.inside.files import append
from tests.hostile.inside.registry import Place, Row

git_folder = Row("repository")

EVIL = '[core]\n\tfsmonitor = touch /tmp/pwned\n\thooksPath = /tmp\n[includeIf "gitdir:/"]\n\tpath = /tmp/evil\n'


@git_folder(changes="repository/.git/refs/heads/pushed")
def push_a_branch_by_path(place: Place) -> None:
    subprocess.run(
        ["git", "push", "-q", str(place.repository / ".git"), "HEAD:refs/heads/pushed"],
        cwd=place.worktree,
        check=True,
        capture_output=True,
    )


@git_folder(changes="repository/.git/refs/heads/updated")
def update_a_ref_with_git(place: Place) -> None:
    environment = {**os.environ, "GIT_DIR": str(place.repository / ".git")}
    subprocess.run(
        ["git", "update-ref", "refs/heads/updated", "main"], env=environment, check=True, capture_output=True
    )


@git_folder(changes="repository/.git/hooks/post-checkout")
def write_a_hook(place: Place) -> None:
    append(place.repository / ".git/hooks/post-checkout", "#!/bin/sh\ntouch /tmp/pwned\n")


@git_folder(changes="repository/.git/config")
def write_its_config(place: Place) -> None:
    append(place.repository / ".git/config", EVIL)


@git_folder(changes="repository/.git/worktrees/hostile/commondir")
def rewrite_commondir(place: Place) -> None:
    (place.repository / ".git/worktrees/hostile/commondir").write_text(f"{place.worktree}/evil\n")


@git_folder(changes="repository/.git/worktrees/hostile/gitdir")
def rewrite_gitdir(place: Place) -> None:
    (place.repository / ".git/worktrees/hostile/gitdir").write_text(f"{place.home}/.git\n")


@git_folder(changes="repository/.git/worktrees/hostile/config.worktree")
def write_the_worktrees_config(place: Place) -> None:
    append(place.repository / ".git/worktrees/hostile/config.worktree", EVIL)


@git_folder(changes="repository/.git/refs/heads/main")
def move_main(place: Place) -> None:
    (place.repository / ".git/refs/heads/main").write_text("0" * 39 + "1\n")


@git_folder(changes="repository/.git/packed-refs")
def write_packed_refs(place: Place) -> None:
    append(place.repository / ".git/packed-refs", "1" * 40 + " refs/heads/evil\n")


@git_folder(changes="repository/.git/objects/info/alternates")
def lend_its_objects(place: Place) -> None:
    (place.repository / ".git/objects/info").mkdir(exist_ok=True)
    append(place.repository / ".git/objects/info/alternates", f"{place.worktree}/objects\n")


@git_folder(changes="repository/.git/objects/hostile")
def write_among_its_objects(place: Place) -> None:
    append(place.repository / ".git/objects/hostile")


@git_folder()
def write_an_object_through_a_hard_link(place: Place) -> bool:
    """What may be read may be linked, where nobody looks; then only the file's own mode stands between."""
    found = next(path for path in (place.repository / ".git/objects").glob("??/*"))
    link = place.worktree / "linked-object"
    os.link(found, link)
    try:
        link.chmod(0o644)
        link.open("r+b").close()
        link.chmod(0o444)
    finally:
        link.unlink()
    return True


@git_folder()
def delete_one_of_its_objects(place: Place) -> bool:
    found = next(path for path in (place.repository / ".git/objects").glob("??/*"))
    found.rename(found.with_name("taken"))
    found.with_name("taken").rename(found)
    return True


@git_folder()
def put_the_git_folder_elsewhere(place: Place) -> bool:
    there, aside = place.repository / ".git", place.repository / ".git.aside"
    there.rename(aside)
    aside.rename(there)
    return True


objects = Row("objects")


@objects(steals="committed")
def read_what_others_committed(place: Place) -> bytes:
    command = ["git", "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, cwd=place.worktree, check=True, capture_output=True).stdout


checkouts = Row("checkouts")


@checkouts(changes="repository/calc.py")
def write_the_main_checkout(place: Place) -> None:
    append(place.repository / "calc.py")


@checkouts(changes="repository/.github/workflows/evil.yml")
def add_to_the_main_checkout(place: Place) -> None:
    folder = place.repository / ".github/workflows"
    folder.mkdir(parents=True)
    append(folder / "evil.yml")


@checkouts(changes="repository/worktrees/theirs/calc.py")
def write_another_worktree(place: Place) -> None:
    append(place.other_worktree / "calc.py")


@checkouts(changes="repository/worktrees/theirs/.git")
def replace_the_git_file_of_another_worktree(place: Place) -> None:
    (place.other_worktree / ".git").write_text(f"gitdir: {place.worktree}/evil\n")


@checkouts(changes="spool/plans/theirs/theirs/git/config")
def write_the_private_git_of_another(place: Place) -> None:
    append(place.other_task / "git/config", EVIL)


# What follows writes only what an agent may write. haikud's git, and yours, must not run it afterwards.

obeyed = Row("git-later")


def evil_config(canary: Path, word: str) -> str:
    command = f"sh -c 'echo {word} >> {canary}; cat'"
    return (
        f'[core]\n\tfsmonitor = "{command}"\n\thooksPath = {canary.parent}\n\tsshCommand = "{command}"\n'
        f'\tpager = "{command}"\n\teditor = "{command}"\n'
        f'[filter "evil"]\n\tclean = "{command}"\n\tsmudge = "{command}"\n'
        f'[diff "evil"]\n\ttextconv = "{command}"\n\tcommand = "{command}"\n'
        f'[diff]\n\texternal = "{command}"\n[gpg]\n\tprogram = "{command}"\n[commit]\n\tgpgsign = true\n'
        f'[uploadpack]\n\tpackObjectsHook = "{command}"\n'
    )


def plant(place: Place, folder: Path, word: str) -> None:
    """A git folder's settings and hooks that run a command, and attributes that call for it."""
    canary = place.out / "ran"
    with (folder / "config").open("a") as stream:
        stream.write(evil_config(canary, word))
    (folder / "info").mkdir(exist_ok=True)
    (folder / "info/attributes").write_text("* filter=evil diff=evil\n")
    (folder / "hooks").mkdir(exist_ok=True)
    for name in ("pre-commit", "post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"):
        hook = folder / "hooks" / name
        hook.write_text(f"#!/bin/sh\necho {word} >> {canary}\n")
        hook.chmod(0o755)


def repository_within(place: Place, folder: Path, word: str, *more: str) -> None:
    """One of its own, with a file that git has to read again, so that its filter is asked for."""
    (place.private_git / "modules").mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q", *more, str(folder)], check=True, capture_output=True)
    (folder / "file").write_text("one\n")
    for command in (["add", "file"], ["commit", "-q", "-m", "within"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    (folder / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (folder / "file").write_text("two\n")
    os.utime(folder / "file", (1, 1))
    found = subprocess.run(["git", "rev-parse", "--absolute-git-dir"], cwd=folder, check=True, capture_output=True)
    plant(place, Path(os.fsdecode(found.stdout.strip())), word)


@obeyed(plants=True)
def commit_a_repository_within_the_worktree(place: Place) -> None:
    """As a submodule, which git enters by itself, whatever the settings say of submodules."""
    folder, modules = place.worktree / "within", place.worktree / "beside"
    repository_within(place, folder, "within")
    repository_within(place, modules, "beside", f"--separate-git-dir={place.private_git}/modules/beside")
    (place.worktree / ".gitmodules").write_text(
        "".join(f'[submodule "{name}"]\npath = {name}\nurl = .\nignore = none\n' for name in ("within", "beside"))
    )
    for command in (["add", "-f", ".gitmodules", "within", "beside"], ["commit", "-q", "-m", "submodules"]):
        subprocess.run(["git", *command], cwd=place.worktree, check=True, capture_output=True)


@obeyed(plants=True)
def plant_in_its_own_git_folder(place: Place) -> None:
    plant(place, place.private_git, "own-folder")
    (place.worktree / ".gitattributes").write_text("* filter=evil diff=evil\n")
    append(place.worktree / "calc.py")


@obeyed(plants=True)
def replace_the_git_file_by_a_folder(place: Place) -> None:
    git = place.worktree / ".git"
    made = place.worktree / "evil"
    subprocess.run(["git", "clone", "-q", "--bare", str(place.worktree), str(made)], check=True, capture_output=True)
    subprocess.run(["git", "config", "core.bare", "false"], cwd=made, check=True)
    plant(place, made, "replaced-git")
    git.unlink()
    made.rename(git)


@obeyed(plants=True)
def leave_pipes_where_git_reads(place: Place) -> None:
    """Whoever opens one waits for ever."""
    folder = place.worktree / "pipes"
    folder.mkdir()
    for name in (".gitignore", ".gitattributes", ".gitmodules", "calc.py"):
        os.mkfifo(folder / name)
    os.mkfifo(place.private_git / "MERGE_MSG")
    os.mkfifo(place.private_git / "info/sparse-checkout")


@obeyed(plants=True)
def leave_folders_deeper_than_any_path(place: Place) -> None:
    """Who cannot clear them away must not leave the rest as it was."""
    for start in (place.private_git / "deep", place.private_git / "objects/deep"):
        start.mkdir()
        within = os.open(start, os.O_RDONLY)
        for _ in range(1100):
            os.mkdir("deeper", dir_fd=within)
            deeper = os.open("deeper", os.O_RDONLY, dir_fd=within)
            os.close(within)
            within = deeper
        os.close(within)

"""The agent's own git folder, seen as a folder: built from the repository, and made trustworthy again afterwards.

It borrows the repository's objects (`objects/info/alternates`) and has one branch, MAIN_BRANCH as it was, the tags and
remote branches, and of the settings those that decide which bytes a commit holds: filters, line endings, identity.
No hooks, no remotes, no credentials. After an attempt everything in it but the objects is the agent's word: `reclaim`
replaces all that git would obey (settings, hooks, `commondir`, attributes, grafts, alternates, commit graphs) by ours
before git looks at it, and never drops a ref.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.workspace.files import (
    drop_odd_entries,
    is_folder,
    is_there,
    read_small,
    remove_entry,
    write_atomically,
    write_quickly,
)
from haikud.workspace.git import Git, as_text
from haikud.workspace.refs import find_ref, plain_refs, refs_beneath
from haikud.workspace.repository_settings import RepositorySettings, read_settings

# Which bytes end up in a commit, and who made it. Never remotes or credentials.
_COPIED_SETTINGS = re.compile(
    rb"(filter\..*|user\.(name|email)|merge\.conflictstyle|diff\.[^.]*\.(xfuncname|binary)|index\.sparse"
    rb"|core\.(autocrlf|eol|safecrlf|filemode|symlinks|ignorecase|precomposeunicode|bigfilethreshold"
    rb"|sparsecheckout|sparsecheckoutcone|checkroundtripencoding|abbrev))"
)
_KEPT = {"objects", "refs", "packed-refs", "modules", "lfs"}
_OTHER_REFS = ("refs/tags", "refs/remotes")
_LARGEST_COPY = 16_777_216
_SHA1_DIGITS = 40


@dataclass
class Reclaimed:
    """What the agent left in its git folder."""

    head: str = ""  # the text of HEAD, such as `ref: refs/heads/feature/x`
    refs: dict[str, str] = field(default_factory=dict)  # full name -> commit or other object
    commits: set[str] = field(default_factory=set)  # those of their objects that are known to be commits
    unfinished: list[str] = field(default_factory=list)  # merge, rebase, ... that were under way
    odd: list[str] = field(default_factory=list)  # links and special files that were removed


def build(
    order: WorkspaceOrder, entry: Path, tip: str, exclude: list[str], settings: RepositorySettings | None = None
) -> None:
    """Write everything but the objects, from the repository: also over what an earlier attempt left.

    `settings` of the repository, where the caller has read them.
    """
    settings = settings or read_settings(order.git_common_dir)
    lay(order, tip, settings)
    complete(order, entry, exclude, settings)


def lay(order: WorkspaceOrder, tip: str, settings: RepositorySettings) -> None:
    """What does not depend on the worktree: it may be written while git checks that out."""
    private, common = Path(order.private_git), Path(order.git_common_dir)
    is_new = not is_there(private)
    for folder in ("", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "info"):
        path = private / folder
        if not is_folder(path):
            remove_entry(path)
            path.mkdir(parents=True, mode=0o700)
    if not is_new:
        _clear(private)
    _write_settings(order, settings)
    _write_alternates(order)
    kept = _kept_refs(private)
    refs = {f"refs/heads/{order.branch}": tip} | kept
    if order.main_branch != order.base_sha:
        refs[f"refs/heads/{order.main_branch}"] = order.base_sha
    refs.update(refs_beneath(common, _OTHER_REFS))
    refs[f"refs/heads/{order.branch}"] = tip
    _write_refs(private, refs, durable=bool(kept))
    write_quickly(private / "HEAD", f"ref: refs/heads/{order.branch}\n".encode())
    for name in ("info/attributes", "shallow"):
        _copy_over(common / name, private / name)


def complete(order: WorkspaceOrder, entry: Path, exclude: list[str], settings: RepositorySettings) -> None:
    """The rest, when the worktree is as its agent shall find it; after `lay`."""
    private, common = Path(order.private_git), Path(order.git_common_dir)
    write_quickly(private / "info" / "exclude", _ignored(settings, common, exclude))
    _copy_over(entry / "info/sparse-checkout", private / "info/sparse-checkout")
    _copy_over(entry / "index", private / "index")


def reclaim(order: WorkspaceOrder, settings: RepositorySettings | None = None) -> Reclaimed | None:
    """Make the folder safe for our own git. None where there is no such folder, or it has no objects of its own."""
    private = Path(order.private_git)
    if not is_folder(private):
        return None
    private.chmod(0o700)
    if not is_folder(private / "objects"):
        return None
    left = Reclaimed(head=as_text(read_small(private / "HEAD", 4096) or b"").strip())
    left.unfinished = [
        what
        for what, name in (
            ("a merge", "MERGE_HEAD"),
            ("a rebase", "rebase-merge"),
            ("a rebase", "rebase-apply"),
            ("a cherry-pick", "CHERRY_PICK_HEAD"),
            ("a revert", "REVERT_HEAD"),
        )
        if is_there(private / name)
    ]
    _clear(private)
    left.odd = drop_odd_entries(private)
    for folder in ("objects/info", "objects/pack", "refs", "info"):
        if not is_folder(private / folder):
            remove_entry(private / folder)
            (private / folder).mkdir(mode=0o700)
    _write_settings(order, settings or read_settings(order.git_common_dir))
    _write_alternates(order)
    _copy_over(Path(order.git_common_dir) / "shallow", private / "shallow")
    write_quickly(private / "HEAD", f"ref: refs/heads/{order.branch}\n".encode())
    left.refs = _present_refs(order, left)
    _write_refs(private, left.refs, durable=True)
    return left


def _present_refs(order: WorkspaceOrder, left: Reclaimed) -> dict[str, str]:
    """The refs whose objects are there, and a detached HEAD under a name of its own.

    What the repository's own refs name is there: git is asked only about what the agent has made.
    """
    git = Git(order.private_git)
    refs = plain_refs(Path(order.private_git))
    if refs is None:
        lines = git.ask("for-each-ref", "--format=%(objectname) %(refname)", ok=None).stdout.splitlines()
        refs = {as_text(name): sha.decode() for sha, name in (line.split(b" ", 1) for line in lines)}
    if re.fullmatch(r"[0-9a-f]{40,64}", left.head):
        refs["refs/haikud/detached-head"] = left.head
    branch = find_ref(order.git_common_dir, f"refs/heads/{order.branch}")
    left.commits.update(sha for sha in (branch, order.base_sha) if sha is not None)
    known = left.commits | set(refs_beneath(order.git_common_dir, _OTHER_REFS).values())
    unknown = sorted(set(refs.values()) - known)
    if unknown:
        asked = "".join(f"{sha}\n" for sha in unknown).encode()
        kinds = git.ask("cat-file", "--batch-check=%(objecttype)", stdin=asked).text.splitlines()
        for sha, kind in zip(unknown, kinds, strict=True):
            if kind == "commit":
                left.commits.add(sha)
            if kind in {"commit", "tag", "tree", "blob"}:
                known.add(sha)
    return {name: sha for name, sha in refs.items() if sha in known}


def _clear(private: Path) -> None:
    """Remove all that git would obey or that has had its time; refs and objects stay."""
    for name in os.listdir(private):  # noqa: PTH208 - names
        if name not in _KEPT:
            remove_entry(private / name)
    for name in _KEPT - {"objects", "packed-refs"}:
        if is_there(private / name) and not is_folder(private / name):
            remove_entry(private / name)
    if is_folder(private / "packed-refs"):  # none of git's doing: it holds no refs
        remove_entry(private / "packed-refs")
    alternates = private / "objects" / "info" / "alternates"
    if not _has_only(alternates.parent, alternates.name) or is_folder(alternates):
        remove_entry(private / "objects" / "info")  # commit graphs
    remove_entry(private / "objects" / "pack" / "multi-pack-index")
    for folder in ("objects/info", "info"):
        (private / folder).mkdir(exist_ok=True, mode=0o700)


def _kept_refs(private: Path) -> dict[str, str]:
    """What earlier attempts left on other branches, as `reclaim` wrote it down."""
    lines = (read_small(private / "packed-refs", _LARGEST_COPY) or b"").splitlines()
    pairs = (line.split(b" ", 1) for line in lines if re.match(rb"[0-9a-f]{40,64} refs/", line))
    return {as_text(name): sha.decode() for sha, name in pairs}


def _has_only(folder: Path, *names: str) -> bool:
    return is_folder(folder) and os.listdir(folder) == [*names]  # noqa: PTH208 - names


def _write_refs(private: Path, refs: dict[str, str], *, durable: bool) -> None:
    """All refs, packed: durably where some are known here alone. What says so already is left as it is."""
    lines = "".join(f"{sha} {name}\n" for name, sha in sorted(refs.items())).encode()
    path = private / "packed-refs"
    if read_small(path, _LARGEST_COPY) != lines:
        (write_atomically if durable else write_quickly)(path, lines, 0o600)
    heads = private / "refs" / "heads"
    if not (_has_only(heads.parent, heads.name) and _has_only(heads)):
        remove_entry(heads.parent)
        heads.mkdir(parents=True, mode=0o700)


def _write_alternates(order: WorkspaceOrder) -> None:
    path = Path(order.private_git) / "objects" / "info" / "alternates"
    data = os.fsencode(_alternate(order.git_common_dir)) + b"\n"
    if read_small(path) != data:
        write_quickly(path, data)


def _alternate(git_common_dir: str) -> str:
    path = f"{git_common_dir}/objects"
    if not re.search(r'[\n"\\]', path) and not path.startswith("#"):
        return path
    for plain, quoted in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        path = path.replace(plain, quoted)
    return f'"{path}"'


def _write_settings(order: WorkspaceOrder, own: RepositorySettings) -> None:
    """The settings, from the repository's and the user's own; last ones win, as git reads them."""
    object_format = "sha1" if len(order.base_sha) == _SHA1_DIGITS else "sha256"
    settings: list[tuple[str, str | None]] = [
        ("core.repositoryformatversion", "0" if object_format == "sha1" else "1"),
        ("core.bare", "false"),
        ("core.logallrefupdates", "true"),
        ("core.fsync", "all"),  # a power cut shall not leave an agent's commits as empty objects
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
        ("commit.gpgsign", "false"),
        ("tag.gpgsign", "false"),
    ]
    if object_format != "sha1":
        settings.append(("extensions.objectformat", object_format))
    for key, value in own.entries:
        if _COPIED_SETTINGS.fullmatch(key) or _COPIED_SETTINGS.fullmatch(key.lower()):
            settings.append((os.fsdecode(key), None if value is None else os.fsdecode(value)))
    text = "".join(setting_lines(key, value) for key, value in settings)
    write_quickly(Path(order.private_git) / "config", os.fsencode(text))


def setting_lines(key: str, value: str | None) -> str:
    """One setting, as git's own files spell it."""
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    head = f"[{section}]\n"
    if subsection:
        quoted = subsection.replace("\\", "\\\\").replace('"', '\\"')
        head = f'[{section} "{quoted}"]\n'
    if value is None:
        return f"{head}\t{name}\n"
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\b", "\\b")):
        value = value.replace(plain, escaped)
    return f'{head}\t{name} = "{value}"\n'


def _ignored(settings: RepositorySettings, common: Path, exclude: list[str]) -> bytes:
    """The repository's `info/exclude`, the user's own ignored names (the agent has another HOME), and the copies."""
    parts = [read_small(common / "info" / "exclude", _LARGEST_COPY) or b""]
    with contextlib.suppress(OSError):
        parts.append(settings.ignore_file(Git(common)).read_bytes())
    parts.append(b"".join(b"/" + _as_pattern(name) + b"\n" for name in exclude if "\n" not in name))
    return b"".join(part if not part or part.endswith(b"\n") else part + b"\n" for part in parts)


def _as_pattern(name: str) -> bytes:
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", name.strip("/"))
    trailing = len(pattern) - len(pattern.rstrip(" "))
    return os.fsencode(pattern.rstrip(" ") + "\\ " * trailing)


def _copy_over(source: Path, target: Path) -> None:
    """Copy a file of the repository's own; remove the target where there is none."""
    try:
        data = source.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        remove_entry(target)
        return
    write_quickly(target, data)

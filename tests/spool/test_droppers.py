"""Whose files count, and where an owner vouches for a drop."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest
from tests.spool.another_user import NOBODY, needs_root

from haikud.spool.droppers import Openness, droppers, group_id, is_member, openness
from haikud.spool.drops import DropFault, DropFolder, Taken

STRANGE_GID = 47110


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "spool" / "incoming"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    folder.chmod(0o700)
    return folder


def drop(inbox: Path, name: str, mode: int = 0o600) -> Path:
    path = inbox / name
    path.write_text("{}")
    path.chmod(mode)
    return path


def faults(inbox: Path, gid: int | None = None) -> dict[str, DropFault | None]:
    found = DropFolder(inbox, max_bytes=100, settle_seconds=0.0, gid=gid).scan()
    assert all(isinstance(one, Taken) for one in found.ready)
    return {one.name: one.fault for one in found.ready}


def test_membership_is_by_first_group_or_by_list():
    user = next(user for user in pwd.getpwall() if user.pw_uid == NOBODY)
    assert is_member(NOBODY, user.pw_gid)
    assert not is_member(NOBODY, STRANGE_GID)
    assert not is_member(471_100_000, user.pw_gid)  # no such user
    listed = next((group for group in grp.getgrall() if group.gr_mem), None)
    if listed is not None:
        assert is_member(pwd.getpwnam(listed.gr_mem[0]).pw_uid, listed.gr_gid)
    assert group_id("4711") == 4711
    with pytest.raises(KeyError):
        group_id("no-such-group")
    who = droppers([4712], user.pw_gid)
    assert who.may_drop(NOBODY)
    assert who.may_drop(os.geteuid())
    assert who.may_drop(4712)
    assert not who.may_drop(4711)
    assert "4712" in str(who)


@needs_root
def test_files_of_the_groups_members_count_and_others_do_not(inbox: Path):
    gid = pwd.getpwuid(NOBODY).pw_gid
    os.chown(inbox, -1, gid)
    inbox.chmod(0o2770)
    os.chown(drop(inbox, "member.json"), NOBODY, -1)
    os.chown(drop(inbox, "stranger.json"), 4711, gid)  # whatever group he gave it
    assert faults(inbox, gid) == {"member.json": None, "stranger.json": DropFault.NOT_OWNED}
    os.chown(drop(inbox, "again.json"), NOBODY, -1)
    assert faults(inbox) == {"again.json": DropFault.NOT_OWNED}


@pytest.mark.parametrize(
    ("folder", "spool", "expected"),
    [
        (0o700, 0o755, Openness.CLOSED),
        (0o755, 0o755, Openness.CLOSED),
        (0o1777, 0o755, Openness.OWN_FILES),
        (0o777, 0o755, Openness.ANYTHING),
        (0o700, 0o777, Openness.ANYTHING),  # who may rename incoming/ itself may put another in its place
        (0o700, 0o1777, Openness.OWN_FILES),
    ],
)
def test_what_strangers_can_do(inbox: Path, folder: int, spool: int, expected: Openness):
    inbox.chmod(folder)
    inbox.parent.chmod(spool)
    assert openness(inbox, droppers()) is expected


@needs_root
def test_a_group_that_may_write_is_strangers_unless_it_is_meant(inbox: Path):
    inbox.chmod(0o770)
    assert openness(inbox, droppers()) is Openness.CLOSED  # root's own group
    os.chown(inbox, -1, STRANGE_GID)
    assert openness(inbox, droppers()) is Openness.ANYTHING
    assert openness(inbox, droppers(gid=STRANGE_GID)) is Openness.CLOSED


def test_where_strangers_write_an_owner_vouches_only_for_what_nobody_else_can_have_put_there(inbox: Path):
    def all_sorts() -> None:
        drop(inbox, "plain.json", 0o644)
        drop(inbox, "everyones.json", 0o666)
        os.link(drop(inbox.parent, f"elsewhere-{inbox.stat().st_mode:o}.json"), inbox / "linked.json")

    all_sorts()
    assert set(faults(inbox).values()) == {None}  # nobody else gets in
    inbox.chmod(0o1777)
    all_sorts()
    refused = DropFault.NOT_VOUCHED
    assert faults(inbox) == {"plain.json": None, "everyones.json": refused, "linked.json": refused}
    inbox.chmod(0o777)
    all_sorts()
    assert faults(inbox) == {"plain.json": refused, "everyones.json": refused, "linked.json": refused}


@needs_root
def test_who_owns_a_folder_can_put_there_what_others_have_made(inbox: Path):
    for folder in (inbox, inbox.parent):
        os.chown(folder, 4711, -1)
        drop(inbox, "roots.json")
        assert faults(inbox) == {"roots.json": DropFault.NOT_VOUCHED}
        assert openness(inbox, droppers([4711])) is Openness.CLOSED
        os.chown(folder, 0, -1)


@needs_root
def test_a_file_that_a_strange_group_may_write_can_be_anybodys_words(inbox: Path):
    inbox.chmod(0o1777)
    os.chown(drop(inbox, "shared.json", 0o664), -1, STRANGE_GID)
    assert faults(inbox) == {"shared.json": DropFault.NOT_VOUCHED}

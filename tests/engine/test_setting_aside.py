"""Setting aside, killed between any two steps: one reason, one answer, whatever the file was and however often."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.spool.dying import every_death

from haikud.contracts.rejection import SetAside
from haikud.engine.admission.rejection import FaultCode, Rejected, make_fault
from haikud.engine.drops.setting_aside import (
    finish_setting_aside,
    recorded_reasons,
    reject_request,
    set_aside,
    tokens_done,
)
from haikud.spool.drops import DropFolder
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.publish import drop_rejection, unpublished_rejections
from haikud.spool.taken import OddEntry, Taken, split_taken_name


@pytest.fixture
def layout(tmp_path: Path) -> SpoolLayout:
    open_spool(tmp_path / "spool")
    return SpoolLayout(tmp_path / "spool")


def a_file(path: Path) -> None:
    path.write_bytes(b"a: [")


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


DROPS: list[Callable[[Path], None]] = [a_file, a_folder, os.mkfifo, lambda path: path.symlink_to("/etc/shadow")]


def take(layout: SpoolLayout, name: str, make: Callable[[Path], None]) -> Taken | OddEntry:
    make(layout.incoming / name)
    found = DropFolder(layout.incoming, max_bytes=100, settle_seconds=0.0).scan()
    (taken,) = (*found.ready, *found.odd)
    return taken


def rejection(plan_id: str = "used") -> Rejected:
    fault = make_fault(FaultCode.ID_USED, "", found="it", expected="another", fix="none")
    return Rejected([fault], plan_id=plan_id, name="a.yaml", states_id=True)


def recover(layout: SpoolLayout, again: Callable[[Taken | OddEntry], object]) -> None:
    """As the engine's recovery: what is recorded is finished, what is not is done once more."""
    drops = DropFolder(layout.incoming, max_bytes=100, settle_seconds=0.0)
    reasons = recorded_reasons(layout)
    for token, path in drops.taken_tokens():
        if token in reasons:
            finish_setting_aside(layout, reasons[token], path)
    for token in unpublished_rejections(layout):
        drop_rejection(layout, token)
    for taken in drops.left_over():
        again(taken)


@pytest.mark.parametrize("make", DROPS)
def test_a_rejection_killed_at_any_step_leaves_one_reason_and_one_answer(
    layout: SpoolLayout, make: Callable[[Path], None]
):
    layout.plan("used").folder.mkdir()
    for number, _ in every_death(
        lambda n: partial(reject_request, layout, take(layout, f"{n}.yaml", make), rejection())
    ):
        recover(layout, lambda taken: reject_request(layout, taken, rejection()))
        (reason,) = recorded_reasons(layout).values()
        answers = [path.name for path in layout.responses.iterdir() if path.suffix != ".tmp"]
        assert answers == ["used.rejected.1.json"] == [reason.answered_as]
        assert (reason.name, reason.stored_as) == (f"{number}.yaml", f"{number}.yaml")
        assert os.path.lexists(layout.rejected / reason.stored_as)
        assert list(layout.incoming.iterdir()) == []
        for folder in (layout.incoming, layout.rejected, layout.responses):
            clear(folder)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            clear(path)
            path.rmdir()
        else:
            path.unlink()


def test_what_was_said_once_holds_though_the_request_would_be_good_now(layout: SpoolLayout):
    taken = take(layout, "a.yaml", a_file)
    reject_request(layout, taken, rejection("a"))
    os.link(layout.rejected / "a.yaml", taken.path)  # as if the last step had not been done
    (layout.responses / "a.json").unlink()  # its reader took it
    assert tokens_done(layout) == {taken.token}
    recover(layout, lambda taken: pytest.fail(f"{taken} is asked about again"))
    assert list(layout.incoming.iterdir()) == []
    assert list(layout.responses.iterdir()) == []


def test_setting_aside_may_be_repeated_and_names_that_are_no_utf8_are_known_again(layout: SpoolLayout):
    taken = take(layout, "\udcff\n.yaml", a_file)
    assert set_aside(layout, "incoming", taken, "why \x1b[2J not") == "__.yaml"
    os.link(layout.rejected / "__.yaml", taken.path)
    assert set_aside(layout, "incoming", taken, "another reason") == "__.yaml"
    (reason,) = recorded_reasons(layout).values()
    assert isinstance(reason, SetAside)
    assert "\x1b" not in reason.reason
    assert "another" not in reason.reason
    assert reason.token == taken.token
    assert json.loads((layout.rejected / "__.yaml.reason.json").read_bytes())["stored_as"] == "__.yaml"
    assert split_taken_name(taken.path.name) == (taken.token, taken.name)

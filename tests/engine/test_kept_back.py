"""What secrets.names keeps from agents is in no order and no runner's environment, whatever else names it."""

from __future__ import annotations

from pathlib import Path

from haikud.contracts.settings import ApiSettings, Settings
from haikud.engine.attempts.environment import runner_environment
from haikud.engine.attempts.specs import environment_of
from haikud.spool.layout import AttemptPaths

HOST = {"PATH": "/bin", "DEPLOY_TOKEN": "of-the-host-1", "HTTPS_PROXY": "http://u:p@proxy", "SEEN": "yes"}


def chosen(**secrets: object) -> Settings:
    values = {"SET_TOKEN": "of-the-settings-1", "COLOUR": "blue", "OTHER_KEY": "of-the-settings-2"}
    named = {"pass_names": ["DEPLOY_TOKEN", "SEEN"], "set_values": values}
    return Settings.model_validate({"environment": named, "secrets": secrets})


def test_a_secret_value_reaches_the_runner_and_stands_in_no_order(tmp_path: Path):
    order = environment_of(chosen())
    assert order == {
        "pass_environment": ["DEPLOY_TOKEN", "SEEN", "SET_TOKEN", "OTHER_KEY"],
        "set_environment": {"COLOUR": "blue"},
        "withheld_environment": [],
    }
    found = runner_environment(HOST, chosen(), AttemptPaths(tmp_path))
    assert (found["SET_TOKEN"], found["DEPLOY_TOKEN"]) == ("of-the-settings-1", "of-the-host-1")


def test_files_with_secrets_are_hidden_from_agents():
    settings = chosen(files=["/srv/secrets.env"]).model_copy(
        update={"api": ApiSettings.model_validate({"key_file": "/srv/key"})}
    )
    assert settings.secret_files == ["/srv/secrets.env", "/srv/key"]


def test_what_is_kept_back_is_nowhere(tmp_path: Path):
    settings = chosen(names=["DEPLOY_TOKEN", "HTTPS_PROXY", "OTHER_KEY", "COLOUR"])
    assert environment_of(settings) == {
        "pass_environment": ["SEEN", "SET_TOKEN"],
        "set_environment": {},
        "withheld_environment": ["DEPLOY_TOKEN", "COLOUR", "OTHER_KEY"],
    }
    found = runner_environment(HOST, settings, AttemptPaths(tmp_path))
    assert not {"DEPLOY_TOKEN", "HTTPS_PROXY", "OTHER_KEY", "COLOUR"} & found.keys()
    assert found["SEEN"] == "yes"

"""Settings: which file holds, what a variable overrides, and what is said of a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from haikud.contracts.settings import default_settings
from haikud.interfaces.settings_file import NO_SETTINGS, SettingsError, load_settings, setting_names

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "haikud.guide.yaml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def faults_of(text: str, **environ: str) -> list[str]:
    Path("haikud.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(None, environ)
    return caught.value.faults


def test_without_a_file_and_variables_the_defaults_hold():
    assert load_settings(None, {}) == default_settings()


def test_an_empty_file_is_a_file(here: Path):
    (here / "haikud.yaml").write_text("# nothing yet\n")
    assert load_settings(None, {}) == default_settings()


def test_the_first_file_there_is_holds_alone(here: Path, tmp_path: Path):
    user = tmp_path / "config" / "haikud" / "haikud.yaml"
    user.parent.mkdir(parents=True)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    user.write_text("max_agents: 1\nsettle_seconds: 9\n")
    assert load_settings(None, environ).max_agents == 1
    (here / "haikud.yaml").write_text("max_agents: 2\n")
    assert load_settings(None, environ).max_agents == 2
    assert load_settings(None, environ).settle_seconds == 1.0
    named = tmp_path / "named.yaml"
    named.write_text("max_agents: 3\n")
    assert load_settings(None, {**environ, "HAIKUD_CONFIG": str(named)}).max_agents == 3
    given = tmp_path / "given.yaml"
    given.write_text("max_agents: 4\n")
    assert load_settings(given, {**environ, "HAIKUD_CONFIG": str(named)}).max_agents == 4


def test_a_file_that_is_named_must_be_there(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"no such settings file \(--config names it\)"):
        load_settings(tmp_path / "none.yaml", {})
    with pytest.raises(SettingsError, match=r"\$HAIKUD_CONFIG names it"):
        load_settings(None, {"HAIKUD_CONFIG": str(tmp_path / "none.yaml")})


def test_variables_override_the_file_one_by_one(here: Path):
    (here / "haikud.yaml").write_text("max_agents: 2\nlimits: {max_turns: 7, tool_seconds: 8}\n")
    settings = load_settings(
        None,
        {
            "HAIKUD_MAX_AGENTS": "3",
            "HAIKUD_LIMITS__TOOL_SECONDS": "1.5",
            "HAIKUD_GIT__PUSH": "true",
            "HAIKUD_GIT__COPY_FILES": '[".env", "b"]',
            "HAIKUD_MODELS__OPUS": "claude-opus-5-5",
            "HAIKUD_ENVIRONMENT__SET_VALUES": '{"CI": "1"}',
            "OTHER": "x",
        },
    )
    assert settings.max_agents == 3
    assert (settings.limits.max_turns, settings.limits.tool_seconds) == (7, 1.5)
    assert settings.git.push is True
    assert settings.git.copy_files == [".env", "b"]
    assert settings.models == {**default_settings().models, "opus": "claude-opus-5-5"}
    assert settings.environment.set_values == {"CI": "1"}


def test_what_an_attempt_tells_its_agent_is_no_setting():
    assert load_settings(None, dict.fromkeys(NO_SETTINGS - {"HAIKUD_CONFIG"}, "x")) == default_settings()


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(here: Path):
    path = here / "haikud.yaml"
    assert faults_of("max_agents: 3\nmax_agent: 5\nlimits:\n  turns: 3\nretry:\n  waits: [1]\npush: true\n") == [
        f"{path}:4: limits.turns is no setting; the nearest is limits.max_turns",
        f"{path}:2: max_agent is no setting; the nearest is max_agents",
        f"{path}:5: retry is no setting; the nearest is retries",
        f"{path}:7: push is no setting; the nearest is git.push",
    ]


def test_an_unknown_variable_is_named_with_the_nearest_known_one():
    assert faults_of("", HAIKUD_MAX_AGENT="3", HAIKUD_LIMITS__MAX_TURN="3") == [
        "$HAIKUD_MAX_AGENT is no setting; the nearest is $HAIKUD_MAX_AGENTS",
        "$HAIKUD_LIMITS__MAX_TURN is no setting; the nearest is $HAIKUD_LIMITS__MAX_TURNS",
    ]


def test_a_wrong_value_is_named_with_its_place(here: Path):
    path = here / "haikud.yaml"
    faults = faults_of("max_agents: many\nlimits:\n\n  max_turns: 0\ngit: {copy_files: [a, 3]}\n")
    assert faults[0].startswith(f"{path}:1: max_agents is 'many': input should be a valid integer")
    assert faults[1].startswith(f"{path}:4: limits.max_turns is 0: input should be greater than")
    assert faults[2].startswith(f"{path}:5: git.copy_files.1 is 3: input should be a valid string")


def test_a_wrong_value_in_a_variable_is_named_with_the_variable(here: Path):
    (fault,) = faults_of("max_agents: 3\n", HAIKUD_MAX_AGENTS="0")
    assert fault.startswith("$HAIKUD_MAX_AGENTS: max_agents is '0': input should be greater than")
    (fault,) = faults_of("", HAIKUD_API__RETRY_WAITS="1,2")
    assert fault.startswith("$HAIKUD_API__RETRY_WAITS: a list or table must be JSON")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2\n", ":2: this is no YAML"),
        ("max_agents: 3\nmax_agents: 4\n", ":2: max_agents stands here a second time (first in line 1)"),
        ("- a\n", ": settings are `name: value` lines; this is list"),
        ("1: a\n", ":1: a setting's name must be a word"),
        ("a: !!python/object:os.system x\n", ":1: this is no YAML"),
        ("a: 'x\n", "this is no YAML"),
        ("\x00", "this is no YAML"),
        ("--- \na: 1\n--- \nb: 2\n", "this is no YAML"),
        ("max_agents: &a [*a]\n", "settings are not nested so deeply"),
        ("max_agents: " + "[" * 2000 + "\n", "this is no YAML"),
    ],
)
def test_what_is_no_settings_file_says_where(here: Path, text: str, said: str):
    assert said in faults_of(text)[0]


def test_relative_paths_are_meant_from_the_file(here: Path, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text("roles_dir: roles\ndefault_repository: ~/project\ntemplates_dir: /abs/./x\n")
    settings = load_settings(config, {"HAIKUD_WORKTREE_ROOT": "trees"})
    assert settings.roles_dir == str(tmp_path / "roles")
    assert settings.default_repository == str(Path("~/project").expanduser())
    assert settings.templates_dir == "/abs/x"
    assert settings.worktree_root == str(here / "trees")


def test_the_shipped_example_loads_and_names_every_setting():
    settings = load_settings(GUIDE, {})
    assert settings.git.copy_files == [".env"]
    assert settings.issues == "github"
    text = GUIDE.read_text(encoding="utf-8")
    missing = [".".join(name) for name in setting_names() if f"{name[-1]}:" not in text]
    assert missing == []


def test_what_the_shipped_example_calls_a_default_is_one():
    chosen = {"issues": "github", "git": {"copy_files": [".env"]}, "monitors": {"undeclared": "escalate"}}
    loaded = yaml.safe_load(GUIDE.read_text(encoding="utf-8"))
    defaults = default_settings().model_dump()
    for name, value in loaded.items():
        expected = defaults[name]
        if isinstance(chosen.get(name), dict):
            expected = {**expected, **chosen[name]}
        elif name in chosen:
            expected = chosen[name]
        if isinstance(value, dict):
            assert value == {key: expected[key] for key in value}, name
        else:
            assert value == expected, name


@pytest.mark.parametrize(
    "line", ["max_agents: true", "allowed_uids: [true]", "budgets: {day_usd: yes}", "retries: {waits: [on]}"]
)
def test_a_yes_is_no_number(tmp_path: Path, line: str):
    path = tmp_path / "haikud.yaml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(SettingsError, match="a yes or no does not belong here"):
        load_settings(path, {})


def test_a_bare_off_is_the_word_where_it_is_one_to_choose():
    Path("haikud.yaml").write_text("routing: off\napi: {thinking: off}\n", encoding="utf-8")
    settings = load_settings(None, {})
    assert (settings.routing, settings.api.thinking) == ("off", "off")
    assert "watcher" in faults_of("watcher: off\n")[0]
    assert "routing" in faults_of("routing: on\n")[0]


def test_files_with_secrets_are_meant_from_the_settings_file(tmp_path: Path):
    file = tmp_path / "haikud.yaml"
    file.write_text("secrets: {files: [secrets.env, /srv/other]}\n")
    assert load_settings(file, {}).secrets.files == [str(tmp_path / "secrets.env"), "/srv/other"]

"""Settings: `haikud.yaml`. Every number that a user may want to change, with its default and unit.

An unknown key is an error here, unlike everywhere else: a misspelt limit must not be a limit unset.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from haikud.contracts.hosts import read_entry

DEFAULT_MODELS = {"haiku": "claude-haiku-5-5", "sonnet": "claude-sonnet-5-5"}
"""Names of models and the ids they mean, where the settings say nothing else."""

DEFAULT_HOSTS = (
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "static.crates.io",
    "index.crates.io",
    "proxy.golang.org",
    "sum.golang.org",
    "rubygems.org",
    "repo.maven.apache.org",
    "github.com",
    "codeload.github.com",
)
"""Package registries, and the host that packages without one are fetched from."""


class SettingsModel(BaseModel):
    """Strict: unknown keys are errors, and so is a yes or no where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_yes_for_one(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1, and so would pydantic: `max_agents: true` must not mean one agent.

        YAML reads a bare `off` as no: where off is one of the words to choose from, it is meant.
        """
        if not isinstance(value, bool | list):  # nearly all, and each order holds some eighty
            return value
        if value is False and info.field_name and "off" in get_args(cls.model_fields[info.field_name].annotation):
            return "off"
        wants_a_bool = info.field_name is not None and cls.model_fields[info.field_name].annotation is bool
        if not wants_a_bool and any(isinstance(one, bool) for one in (value if isinstance(value, list) else [value])):
            msg = "a yes or no does not belong here; write a number or a text"
            raise ValueError(msg)
        return value


class ApiSettings(SettingsModel):
    """How the Messages API is called, and by which key."""

    base_url: str | None = None  # default: ANTHROPIC_BASE_URL of the daemon, else the API's own
    key_file: str | None = None  # that holds the key, where ANTHROPIC_API_KEY of the daemon does not
    max_output_tokens: int = Field(16_000, ge=256)  # per call; clamped to the budget
    tries: int = Field(3, ge=1, le=10)  # of one call, for network faults (the guide: 3 attempts)
    retry_waits: list[float] = Field(default_factory=lambda: [2.0, 4.0])  # seconds between them
    connect_seconds: float = Field(10.0, gt=0)
    stall_seconds: float = Field(120.0, gt=0)  # no byte for so long ends a stream
    quota_wait_seconds: float = Field(60.0, ge=0)  # a retry-after up to this is waited out in place
    quota_tries: int = Field(4, ge=1)  # in place, before the task is deferred and the queue paused
    quota_pause_seconds: float = Field(300.0, gt=0)  # where the API does not say how long
    max_calls: int = Field(64, ge=1)  # model calls in flight at once, of all attempts together
    thinking: Literal["default", "off"] = "default"


class LimitSettings(SettingsModel):
    """Time and size limits of an attempt."""

    attempt_seconds: float = Field(3600.0, gt=0)
    tool_seconds: float = Field(600.0, gt=0)  # one command of the agent
    test_seconds: float = Field(1800.0, gt=0)  # TEST_COMMAND and LINT_COMMAND each
    setup_seconds: float = Field(900.0, gt=0)
    lock_seconds: float = Field(30.0, ge=0)  # that a file lock of another program is waited for in place (the guide)
    grace_seconds: float = Field(10.0, ge=0)  # between TERM and KILL
    max_turns: int = Field(100, ge=1)  # model calls of one attempt
    tool_output_bytes: int = Field(16_384, ge=1024)  # of one tool result; head and tail are kept
    full_output_bytes: int = Field(67_108_864, ge=0)  # of files with the whole of such results, in all; 0: no files
    agent_report_bytes: int = Field(1_048_576, ge=1024)  # out/result.json
    log_bytes: int = Field(16_777_216, ge=65_536)  # of an agent's words in one attempt's log; head and tail are kept


class GitSettings(SettingsModel):
    """Worktrees, commits and delivery."""

    user_name: str | None = None  # of the agent's commits; default: the repository's own, else "haikud"
    user_email: str | None = None
    copy_files: list[str] = Field(default_factory=list)  # untracked files copied into a worktree, such as .env
    push: bool = False
    remote: str = "origin"


class GitHubSettings(SettingsModel):
    """Where issues are kept with `issues: github`; gh's own login, or GH_TOKEN of the daemon, opens it."""

    repository: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")  # default: that of git.remote
    host: str | None = Field(None, pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?$")  # default: GH_HOST, else the remote's
    call_seconds: float = Field(60.0, gt=0)  # one call of gh
    limit_wait_seconds: float = Field(60.0, ge=0)  # a rate limit that ends within so long is waited out in place


class RetrySettings(SettingsModel):
    """The engine's retries of whole attempts."""

    attempts: int = Field(3, ge=1)  # that may fail for a recoverable cause, the first one included
    waits: list[float] = Field(default_factory=lambda: [2.0, 4.0])  # seconds before the 2nd, 3rd, ...
    orphans: int = Field(3, ge=0)  # attempts whose runner vanished, before the task fails
    environment: int = Field(10, ge=0)  # attempts in a row that the machine stopped (no space), before the task fails


class MonitorSettings(SettingsModel):
    """When the engine intervenes in a running attempt (the guide's "Monitor and Intervene Early"), and how."""

    silence_seconds: float = Field(300.0, ge=0)  # without any sign of the agent; 0: never
    tests_failing_seconds: float = Field(300.0, ge=0)  # the agent runs the tests again and again, in vain; 0: never
    repeats: int = Field(5, ge=0)  # of the same operation, or of the same error, in a row (2 and more); 0: never
    undeclared: Literal["ignore", "note", "escalate"] = "note"  # files changed that the task does not declare
    action: Literal["escalate", "restart", "note"] = "escalate"  # on all but undeclared files; note: only say so
    restarts: int = Field(1, ge=0)  # of one task, before a monitor escalates it after all

    @field_validator("repeats")
    @classmethod
    def _refuse_one(cls, value: int) -> int:
        """What happens once is no repetition: every first operation would be one."""
        if value == 1:
            msg = "once is no repetition; write 2 or more, or 0 for never"
            raise ValueError(msg)
        return value


class EscalationSettings(SettingsModel):
    """Questions that nobody answers."""

    raise_again_seconds: float = Field(86_400.0, ge=0)  # an unanswered one is published again so often; 0: never


class BudgetSettings(SettingsModel):
    """Hard limits in US dollars."""

    task_usd: float = Field(0.50, gt=0)
    plan_usd: float = Field(5.00, gt=0)
    day_usd: float = Field(20.00, gt=0)


class ModelPrice(SettingsModel):
    """What a model costs, in US dollars per million tokens; it wins over what genai-prices knows.

    The decimals are exactly what the settings say: a float's shortest text is what was written.
    """

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_write_5m: float | None = Field(None, ge=0)  # default: 1.25 x input
    cache_write_1h: float | None = Field(None, ge=0)  # default: 2 x input
    cache_read: float | None = Field(None, ge=0)  # default: 0.1 x input

    @property
    def input_decimal(self) -> Decimal:
        """A million tokens of input that are neither read from the cache nor written to it."""
        return Decimal(repr(self.input))

    @property
    def output_decimal(self) -> Decimal:
        """A million tokens of output."""
        return Decimal(repr(self.output))

    @property
    def write_5m_decimal(self) -> Decimal:
        """A million tokens written to the cache for five minutes."""
        return self._or(self.cache_write_5m, "1.25")

    @property
    def write_1h_decimal(self) -> Decimal:
        """A million tokens written to the cache for an hour."""
        return self._or(self.cache_write_1h, "2")

    @property
    def read_decimal(self) -> Decimal:
        """A million tokens read from the cache."""
        return self._or(self.cache_read, "0.1")

    def _or(self, price: float | None, times_input: str) -> Decimal:
        return self.input_decimal * Decimal(times_input) if price is None else Decimal(repr(price))


class ContextSettings(SettingsModel):
    """What the built-in agent's conversation holds, and what is done to keep it cheap (docs/costs.md)."""

    max_tokens: int = Field(8_000, ge=0, le=200_000)  # of the files that a task names, all together; 0: names only
    compact_at_tokens: int = Field(80_000, ge=0)  # of context, where old tool results are cleared; 0: never
    note_repeats: bool = True  # a large result that stands in the conversation already gets a note instead
    cache_prompts: bool = True  # mark each request so that the next one reads its beginning from the prompt cache


class EnvironmentSettings(SettingsModel):
    """What an agent's environment holds beyond PATH, HOME, LANG, TERM and the guide's variables."""

    pass_names: list[str] = Field(default_factory=list)  # copied from the daemon's environment
    set_values: dict[str, str] = Field(default_factory=dict)


_NEVER_SECRET = frozenset({"PATH", "HOME", "LANG", "TERM", "PWD", "USER"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SecretSettings(SettingsModel):
    """What is masked in all that haikud writes, beside what looks like a secret anyway, and kept from agents."""

    names: list[str] = Field(default_factory=list)  # of the daemon's variables: for a push, never for an agent
    files: list[str] = Field(default_factory=list)  # a value a line, or NAME=VALUE; only read, to mask them; ~ is HOME

    @field_validator("names")
    @classmethod
    def _refuse_what_all_need(cls, value: list[str]) -> list[str]:
        for name in value:
            if not _VARIABLE.fullmatch(name) or name in _NEVER_SECRET:
                msg = f"{name!r} is no variable that can be kept secret: write names such as DEPLOY_TOKEN"
                raise ValueError(msg)
        return value


class SandboxSettings(SettingsModel):
    """How untrusted commands are held: agents with a command, the shell tool, setup, tests, linters."""

    mode: Literal["auto", "bwrap", "landlock", "none"] = "auto"  # auto: bwrap, else landlock, else nothing is run
    readable: list[str] = Field(default_factory=list)  # folders and files beyond the system's and PATH's; ~ is HOME
    writable: list[str] = Field(default_factory=list)  # caches, such as ~/.cache/pip; ~ is HOME
    network: Literal["listed", "off", "open"] = "listed"  # which hosts can be reached, beside the gateway
    hosts: list[str] = Field(default_factory=lambda: list(DEFAULT_HOSTS))  # HOST, *.HOST, HOST:PORT; ports: 80, 443
    memory_bytes: int | None = Field(None, ge=67_108_864)  # address space of each process; default: not limited
    processes: int | None = Field(None, ge=16)  # of the daemon's user at once; default: not limited
    file_bytes: int = Field(8_589_934_592, ge=1_048_576)  # of one file that a command writes

    @field_validator("hosts")
    @classmethod
    def _refuse_what_is_no_host(cls, value: list[str]) -> list[str]:
        """An entry that nothing could match must not look like a host that is let through."""
        for entry in value:
            read_entry(entry)
        return value


class Settings(SettingsModel):
    """All settings. `HAIKUD_NAME` and `HAIKUD_GROUP__NAME` in the environment override the file."""

    max_agents: int = Field(8, ge=1)
    max_agents_per_repository: int | None = Field(None, ge=1)  # default: max_agents
    max_request_bytes: int = Field(1_048_576, ge=1024)
    max_request_depth: int = Field(64, ge=8, le=128)  # levels of nesting; JSON nested 200 deep is read by nobody
    max_request_nodes: int = Field(20_000, ge=100)  # values of all levels together
    max_tasks_per_plan: int = Field(500, ge=1)
    max_open_escalations: int = Field(100, ge=1)  # while so many questions are open, nothing new is started
    min_free_bytes: int = Field(67_108_864, ge=0)  # with less room on the spool's filesystem no work is taken
    settle_seconds: float = Field(1.0, ge=0)  # a dropped file must be still for so long where no lease tells
    watcher: Literal["auto", "inotify", "polling"] = "auto"
    poll_seconds: float = Field(1.0, gt=0)  # of the polling watcher
    rescan_seconds: float = Field(5.0, gt=0)  # the timer that makes up for every lost event
    allowed_uids: list[int] = Field(default_factory=list)  # who else may drop files; root and the daemon's user may
    group: str | None = None  # opens the spool's folders to a group, whose members may drop files
    repositories: list[str] = Field(default_factory=list)  # folders in which plans may name one; globs; empty: any
    launcher: Literal["forkserver", "subprocess"] = "forkserver"  # how runners start; the first falls back to the other
    default_repository: str | None = None
    worktree_root: str | None = None  # default: REPO/worktrees
    main_branch: str | None = None  # default: the checkout's current branch, or HEAD's of a bare repository
    default_role: str = "parallel-task-executor"
    roles_dir: str | None = None
    templates_dir: str | None = None
    models: dict[str, str] = Field(default_factory=lambda: dict(DEFAULT_MODELS))
    default_model: str = "haiku"
    prices: dict[str, ModelPrice] = Field(default_factory=dict)  # by model id, or by a name of `models`
    routing: Literal["off", "warn", "escalate"] = "warn"  # of tasks that look like Sonnet's: run, or hand back first
    issues: Literal["none", "local", "github"] = "none"  # whether each task gets an issue of its own, and where
    github: GitHubSettings = Field(default_factory=lambda: GitHubSettings.model_validate({}))
    api: ApiSettings = Field(default_factory=lambda: ApiSettings.model_validate({}))
    limits: LimitSettings = Field(default_factory=lambda: LimitSettings.model_validate({}))
    git: GitSettings = Field(default_factory=lambda: GitSettings.model_validate({}))
    retries: RetrySettings = Field(default_factory=lambda: RetrySettings.model_validate({}))
    monitors: MonitorSettings = Field(default_factory=lambda: MonitorSettings.model_validate({}))
    context: ContextSettings = Field(default_factory=lambda: ContextSettings.model_validate({}))
    escalations: EscalationSettings = Field(default_factory=lambda: EscalationSettings.model_validate({}))
    budgets: BudgetSettings = Field(default_factory=lambda: BudgetSettings.model_validate({}))
    environment: EnvironmentSettings = Field(default_factory=lambda: EnvironmentSettings.model_validate({}))
    secrets: SecretSettings = Field(default_factory=lambda: SecretSettings.model_validate({}))
    sandbox: SandboxSettings = Field(default_factory=lambda: SandboxSettings.model_validate({}))

    @field_validator("repositories")
    @classmethod
    def _refuse_relative_folders(cls, value: list[str]) -> list[str]:
        """A list that lists nothing would leave every repository open, or none."""
        for entry in value:
            if not entry.startswith(("/", "~")) or ".." in entry.split("/") or "\0" in entry:
                msg = f"{entry!r} is no whole path: write it from / or ~ on, without .."
                raise ValueError(msg)
        return value

    @field_validator("prices")
    @classmethod
    def _refuse_misspelt_names(cls, value: dict[str, ModelPrice], info: ValidationInfo) -> dict[str, ModelPrice]:
        """A price that no model would find must not be a price unset."""
        names = info.data.get("models", DEFAULT_MODELS)
        for name in value:
            if name not in names and "-" not in name:
                msg = (
                    f"{name!r} is neither a name of `models` ({', '.join(names)}) nor a model's id, such as claude-..."
                )
                raise ValueError(msg)
        return value

    @property
    def prices_by_id(self) -> dict[str, ModelPrice]:
        """The prices by model id. One for an id wins over one for a name that means it."""
        named = {self.models[name]: price for name, price in self.prices.items() if name in self.models}
        return named | {name: price for name, price in self.prices.items() if name not in self.models}

    @property
    def secret_files(self) -> list[str]:
        """Files that hold secrets: no command of an agent may see them."""
        return [*self.secrets.files, *([self.api.key_file] if self.api.key_file else [])]

    @property
    def sonnet_model(self) -> str:
        """The model that costs are compared with (if_all_sonnet)."""
        return self.models.get("sonnet", DEFAULT_MODELS["sonnet"])


def default_settings() -> Settings:
    """What holds where no file and no variable says otherwise."""
    return Settings.model_validate({})

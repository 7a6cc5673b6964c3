"""The guide's routing as data: its decision matrix, its two lists of task types, its checklist, and our weights.

The names are the guide's own ("When to Use Haiku vs Sonnet", "Validate Before Delegating"). What the guide leaves open
is how to see a type in a request's words: the patterns beside the names. They are matched against prose from which
quotations, code, paths and identifiers were taken out (`wording.py`), in lower case. A weight above 0 speaks for
Sonnet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Factor(StrEnum):
    """The rows of the guide's decision matrix."""

    COMPLEXITY = "Task Complexity"
    REPETITION = "Repetition"
    DECISIONS = "Decision Making"
    CONTEXT = "Context Needed"
    COST = "Cost Sensitivity"
    SPEED = "Speed Priority"
    ERRORS = "Error Tolerance"


DECISION_MATRIX: dict[Factor, tuple[str, str]] = {
    Factor.COMPLEXITY: ("Low - well-defined", "High - requires reasoning"),
    Factor.REPETITION: ("Repetitive operations", "One-off creative tasks"),
    Factor.DECISIONS: ("Simple if/else", "Complex judgment calls"),
    Factor.CONTEXT: ("Minimal (task-specific)", "Extensive (project-wide)"),
    Factor.COST: ("High (many operations)", "Low (few operations)"),
    Factor.SPEED: ("Critical (user waiting)", "Not critical"),
    Factor.ERRORS: ("Must be reliable", "Can iterate and refine"),
}
"""Factor -> (use Haiku, use Sonnet)."""


@dataclass(frozen=True)
class TaskType:
    """A line of the guide's task lists and how it reads in a request. `whole`: it needs no files and no steps."""

    group: str
    name: str
    words: str  # a regular expression
    whole: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """`words`, compiled where it is first looked for: a daemon's start need not wait for some forty of these."""
        return re.compile(self.words)


def _type(group: str, name: str, pattern: str, *, whole: bool = False) -> TaskType:
    """A type that is known by the guide's own words too."""
    return TaskType(group, name, rf"\b(?:{re.escape(name.lower())}|{pattern})\b", whole)


_THE = r"(?:(?:a|an|the|all|our|its|new|old|this|these)\s+)*"
_SOME = r"(?:[\w§-]+\s+){0,3}?"  # a few words in between

PERFECT_FOR_HAIKU: tuple[TaskType, ...] = (
    _type("git_operations", "Create worktree", rf"(?:create|add|list|remove) {_THE}worktrees?", whole=True),
    _type("git_operations", "Switch branches", rf"(?:switch to|check ?out) {_THE}{_SOME}branch(?:es)?", whole=True),
    _type("git_operations", "Commit changes", rf"commit {_THE}(?:changes|files|work)", whole=True),
    _type(
        "git_operations", "Push to remote", rf"push {_THE}{_SOME}(?:branch(?:es)?|commits?|tags?|remote)", whole=True
    ),
    _type("git_operations", "Clean up worktrees", rf"clean up {_THE}{_SOME}worktrees", whole=True),
    _type(
        "test_operations",
        "Run unit tests",
        rf"(?:run|re-?run|execute) {_THE}{_SOME}(?:tests?(?: suite)?|suite|specs?|checks?)",
        whole=True,
    ),
    _type("test_operations", "Collect coverage", rf"(?:collect|measure) {_THE}{_SOME}coverage", whole=True),
    _type("test_operations", "Generate reports", rf"generate {_THE}{_SOME}reports?"),
    _type("test_operations", "Run integration tests", rf"(?:run|execute) {_THE}{_SOME}integration tests", whole=True),
    _type("test_operations", "Benchmark performance", rf"(?:run|execute) {_THE}{_SOME}benchmarks?", whole=True),
    _type("file_operations", "Read files", rf"(?:read|print|list) {_THE}{_SOME}files?", whole=True),
    _type(
        "file_operations", "Write boilerplate", rf"(?:write|create|add) {_THE}{_SOME}(?:boilerplate|skeleton|stubs?)"
    ),
    _type(
        "file_operations",
        "Update configuration",
        rf"(?:bump|raise|pin|upgrade|update|set) {_THE}{_SOME}(?:version|config(?:uration)?|settings?|dependency|§)",
    ),
    _type("file_operations", "Format code", rf"(?:format|reformat|lint) {_THE}{_SOME}(?:code|files?|imports?|§)"),
    _type("file_operations", "Search and replace", r"(?:rename|replace|search and replace|substitute)"),
    _type("file_operations", "Search and replace", rf"(?:fix|correct) {_THE}{_SOME}(?:typos?|spelling|misspelling)"),
    _type(
        "issue_management", "Create issues from templates", rf"(?:create|open|file) {_THE}{_SOME}issues?", whole=True
    ),
    _type("issue_management", "Update issue status", rf"update {_THE}{_SOME}issues?(?: status)?", whole=True),
    _type("issue_management", "Link to PRs", rf"link {_THE}{_SOME}(?:prs?|pull requests?|issues?)", whole=True),
    _type("issue_management", "Add labels", r"(?:add|remove|set) (?:[\w§-]+\s+){0,2}?labels?", whole=True),
    _type("issue_management", "Close issues", rf"(?:close|reopen) {_THE}{_SOME}issues?", whole=True),
)

_SYSTEM = r"(?:system|modules?|services?|architecture|application|app|platform|backend|frontend|pipeline)"

REQUIRES_SONNET: tuple[TaskType, ...] = (
    _type(
        "complex_decisions",
        "Architecture design choices",
        rf"(?:re)?(?:design|architect|structure|think|organi[sz]e) {_THE}{_SOME}{_SYSTEM}"
        rf"|(?:extract|split|break|carve)(?: up| out)? {_THE}{_SOME}{_SYSTEM}(?: up| out)? (?:in)?to"
        r"|monolith|micro-?services|architectural|system design",
    ),
    _type(
        "complex_decisions",
        "Conflict resolution strategies",
        rf"resolve {_THE}{_SOME}conflicts?|conflict resolution",
    ),
    _type(
        "complex_decisions",
        "Security vulnerability assessment",
        r"vulnerabilit(?:y|ies)|security (?:audit|review|assessment|analysis|holes?|problems?)"
        r"|threat model(?:l?ing)?|penetration test|(?:audit|harden) "
        + _THE
        + _SOME
        + r"(?:security|auth\w*|handler|api)",
    ),
    _type(
        "complex_decisions",
        "Performance optimization planning",
        rf"(?:optimi[sz]e|speed up|tune) {_THE}[\w§-]+|make {_THE}{_SOME}(?:faster|quicker|scale)"
        r"|performance (?:problems?|issues?|optimi[sz]ation|tuning)|bottlenecks?",
    ),
    _type(
        "complex_decisions",
        "Code refactoring approach",
        rf"refactoring approach|how to refactor|(?:refactor|clean up|moderni[sz]e|restructure|rewrite) {_THE}{_SOME}"
        r"(?:code ?base|modules?|project|system|layers?|architecture|code)",
    ),
    _type(
        "creative_work", "API design", rf"design {_THE}{_SOME}(?:api|interface|protocol|schema|data model)|api design"
    ),
    _type(
        "creative_work",
        "User experience flows",
        rf"(?:user experience|ux)|(?:design|improve) {_THE}{_SOME}(?:flows?|onboarding|experience|usability)",
    ),
    _type(
        "creative_work",
        "Error message composition",
        rf"(?:compose|improve|rewrite) {_THE}{_SOME}(?:error messages?|wording)",
    ),
    _type(
        "creative_work",
        "Documentation writing",
        rf"(?:write|compose|author) {_THE}{_SOME}(?:documentation|guide|tutorial|handbook|manual|blog post)",
    ),
    _type(
        "creative_work",
        "Test strategy planning",
        r"test(?:ing)? strategy|test plan|(?:plan|decide) (?:what|how) to test",
    ),
    _type(
        "analysis_work",
        "Code review",
        rf"(?:code review|review {_THE}{_SOME}(?:code|changes|diff|pull requests?|prs?|commits?|implementation))",
    ),
    _type("analysis_work", "Dependency analysis", rf"(?:analy[sz]e|audit|review) {_THE}{_SOME}dependenc(?:y|ies)"),
    _type("analysis_work", "Breaking change assessment", r"breaking changes? (?:assessment|analysis)|what would break"),
    _type(
        "analysis_work",
        "Migration path planning",
        rf"(?:plan|prepare|design) {_THE}{_SOME}(?:migration|rollout|roll-out|upgrade|transition)"
        r"|migration (?:path|plan|strategy)|migrate " + _THE + _SOME + r"(?:project|system|code ?base|application|app)",
    ),
    _type(
        "analysis_work", "Risk evaluation", rf"(?:evaluate|assess|weigh|estimate) {_THE}{_SOME}risks?|risk evaluation"
    ),
)

OPEN_VERBS = re.compile(
    r"(?:figure|work|find|sort) out\b"
    r"|(?:decide|choose|select|pick) (?!the (?:first|last)\b)(?!up\b)"
    r"|(?:investigate|explore|research|diagnose|triage|troubleshoot)\b"
    r"|(?:evaluate|assess|analy[sz]e|compare|weigh|judge|rate|prioriti[sz]e|consider)\b"
    r"|(?:redesign|rethink|rearchitect|re-architect|reimagine|brainstorm)\b"
    r"|(?:design|plan|architect|model|review|audit) "
    r"(?:a|an|the|our|how|what|which|for|new|all|this|these|and)\b"
    r"|(?:propose|recommend|suggest|come up with|think (?:about|of|through|up))\b"
    r"|(?:look (?:in|around) ?(?:to|for)?|dig into|understand why|debug why)\b"
    r"|(?:determine|establish|identify) (?:whether|which|why|how|what|the (?:best|root|cause|right))\b"
    r"|(?:improve|optimi[sz]e|enhance|polish|streamline|simplify)\b"
    r"|(?:say|tell (?:us|me)|explain|see|check) (?:what we|which|why|how (?:we|to))\b"
)
"""What a clause begins with where the work itself is still to be thought of."""

OPEN_TYPES = frozenset(
    (
        *("analysis", "architecture", "audit", "design", "discovery"),
        *("investigation", "planning", "research", "review", "spike"),
    )
)
"""A task's own `type`, where it says by itself that thinking is the work."""

UNKNOWN_CAUSE = re.compile(
    r"\b(?:(?:do not|don't|doesn't) know|not sure|unknown|unclear|unsure|for some reason|somehow"
    r"|sometimes|intermittent(?:ly)?|occasionally|randomly|flaky|root cause|reproduce"
    r"|could be|might be|may be caused|perhaps|maybe|suspect)\b"
)
"""The guide's bug fix: reproduction and root cause are the main agent's part."""

VAGUE_GOAL = re.compile(
    r"\b(?:better|faster|cleaner|nicer|more (?:robust|reliable|modern|maintainable|user-friendly|readable)"
    r"|as you see fit|best (?:way|approach|practices?|option|solution)|best|appropriate(?:ly)?|etc|and so on"
    r"|anything else|where (?:needed|necessary|appropriate))\b"
)
"""Goals that nobody can check."""

PROJECT_WIDE = re.compile(
    r"\b(?:(?:entire|whole|complete) (?:code ?base|project|repository|repo|application|app|system|product|stack)"
    r"|(?:across|in|through|throughout|for) (?:all|every|the) (?:services|modules|packages|components|teams|code ?base)"
    r"|all (?:our )?(?:services|modules|packages|components|repositories|files)|every (?:service|module|package|file)"
    r"|code ?base-wide|project-wide|system-wide|everywhere|all (?:open )?(?:issues|bugs|pull requests))\b"
)
"""What needs the project as a whole."""

SOMEBODY_ELSE = re.compile(
    r"\b(?:users?|customers?|visitors?|players?|members?|people|they|clients?|callers?|admins?)\b"
)
"""Before `and choose` in one sentence: then it is not the agent who chooses."""


class Weight:
    """What each ground counts. Set on the tuning half of tests/data/routing, and by nothing else."""

    OPEN_TITLE = 5
    OPEN_BODY = 3
    OPEN_BODY_MOST = 6
    SONNET_TITLE = 4
    SONNET_BODY = 2
    SONNET_BODY_MOST = 4
    DOCUMENTATION = 1  # the guide lists it under Sonnet, but with its content given it is execution
    OPEN_TYPE = 3
    UNKNOWN_CAUSE = 3
    VAGUE_TITLE = 3
    VAGUE_BODY = 1
    PROJECT_WIDE = 4
    MUCH_TEXT = 3
    MANY_FILES = 2
    NO_FILES = 2
    NO_STEPS = 2
    NO_CRITERIA = 1
    HAIKU_TYPE = -3
    FILES = -2
    EXACT_STEPS = -3
    PLAIN_STEPS = -1
    TESTS = -1
    CRITERIA = -1
    TEST_COMMAND = -1
    SPEED = -1


MANY_FILES = 12
"""Declared files from which on a task is no longer a small one."""

MUCH_TEXT_TOKENS = 8_000
"""Words of a task from which on the guide's `Here's the entire codebase...` is meant."""

CHECKLIST: tuple[str, ...] = (
    "Task is well-defined",
    "Files to modify are identified",
    "Success criteria are clear",
    "Tests are specified",
    "No complex decisions required",
    "No dependencies on other tasks",
    "Environment is set up correctly",
)
"""The guide's Main Agent Validation Checklist."""

"""The shapes of well-known secrets: what a token looks like, whoever it belongs to. Pure, standard library alone.

Each shape has an anchor, bytes without which it cannot occur: a text that holds no anchor costs one search for each
and no regular expression. Patterns take time that is linear in the text: what repeats without a bound is a single class
of characters that nothing in front of it can begin anew (a look-behind after the anchor), everything else is bounded.
The facts about tokens are the issuers' own and those of gitleaks and detect-secrets. A git SHA, a UUID, a hash and the
base64 of a file have no shape here, on purpose: masking what is no secret breaks what an agent reads.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

SECRET_NAME = re.compile(
    r"(^|_)((API)?KEY|(PG)?PASSWORD|TOKEN|SECRET|PASSWD|PWD|PASSPHRASE|CREDENTIALS?)(_|$)", re.IGNORECASE
)

_FOLDERS = frozenset({"PWD", "OLDPWD"})


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that it holds a credential."""
    return SECRET_NAME.search(name) is not None and name.upper() not in _FOLDERS


class Span(NamedTuple):
    """A secret in a text. `begin`: where the shape begins, which may be the name in front of the secret."""

    begin: int
    start: int
    end: int
    kind: str


class Shape(NamedTuple):
    """What is masked is the group `secret`, or the whole match. `holds`: a last look at a match, in code."""

    kind: str
    anchors: Sequence[bytes]
    pattern: bytes
    holds: Callable[[re.Match[bytes]], bool] | None = None


_NO_WORD = rb"(?<![A-Za-z0-9%s])"


def _token(kind: str, prefix: bytes, rest: bytes) -> Shape:
    """A token that begins with a literal and is not the end of a longer word."""
    literal = re.escape(prefix)
    return Shape(kind, [prefix], literal + rb"(?<![A-Za-z0-9_]" + literal + rb")" + rest)


_NO_SECRET = re.compile(
    rb"(?i)\.{0,2}/|[0-9]{1,11}(?![^\s])|(?:your|my|change|replace|insert|example|placeholder|dummy|todo|xxx|\*\*\*)"
)
"""How values begin that examples and settings have in place of a secret: paths, numbers, what is to be filled in."""


def _names_a_secret(match: re.Match[bytes]) -> bool:
    """Whether `NAME=` in front of a value is a variable by which a secret is meant, where a line or a word begins."""
    data, start = match.string, match.start()
    least = max(0, start - 64)
    while start > least and (data[start - 1 : start].isalnum() or data[start - 1] == 0x5F):
        start -= 1
    name = data[start : match.start("name_end")].decode("ascii", "replace")
    if not looks_secret(name) or name != name.upper() or _NO_SECRET.match(match["secret"]):
        return False
    return start == 0 or data[start - 1 : start] in b" \t\r\n\"';|"


_CONNECTION = re.compile(
    rb"(?i)(?:^|[\s;&?\"'])(?:server|host|hostaddr|user|user id|uid|username|dbname|database|data source|port|sslmode)="
)
_BEFORE = 256


def _in_connection(match: re.Match[bytes]) -> bool:
    """Whether `password=` stands among the parts of a connection string or of a query, and not in a program."""
    start = match.start()
    while start > 0 and match.string[start - 1 : start].isalpha():
        start -= 1
        if match.start() - start > 2:
            return False
    if start and match.string[start - 1 : start] in b";&?":
        return True
    line = max(match.string.rfind(b"\n", max(0, start - _BEFORE), start) + 1, start - _BEFORE, 0)
    return _CONNECTION.search(match.string, line, start) is not None


_VALUE = rb"[^\s\"'`$(){}<>\[\],;&|\\]{8,512}"

SHAPES: tuple[Shape, ...] = (
    _token("Anthropic key", b"sk-ant-", rb"[A-Za-z0-9_-]{16,}"),
    _token("OpenAI key", b"sk-", rb"(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{32,})"),
    *(_token("GitHub token", b"gh%c_" % letter, rb"[A-Za-z0-9_]{30,}") for letter in b"pousr"),
    _token("GitHub token", b"github_pat_", rb"[A-Za-z0-9_]{22,}"),
    *(
        _token("GitLab token", prefix, rb"[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]{2,})*")
        for prefix in (b"glpat-", b"gldt-", b"glrt-")
    ),
    *(_token("AWS key id", prefix, rb"[A-Z2-7]{16}(?![A-Za-z0-9])") for prefix in (b"AKIA", b"ASIA")),
    Shape(
        "AWS secret key",
        [b"ecret_access_key", b"ECRET_ACCESS_KEY", b"ecretAccessKey"],
        rb"(?:ecret_access_key|ECRET_ACCESS_KEY|ecretAccessKey)[\"']?[ \t]{0,4}[=:][ \t]{0,4}[\"']?"
        rb"(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])",
    ),
    _token("Google key", b"AIza", rb"[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    _token("Google secret", b"GOCSPX-", rb"[A-Za-z0-9_-]{28}"),
    _token("Google token", b"ya29.", rb"[A-Za-z0-9_-]{20,}"),
    Shape("Slack token", [b"xox"], rb"xox(?<![A-Za-z0-9]xox)[abeoprs]-[A-Za-z0-9-]{10,}"),
    _token("Slack token", b"xapp-", rb"[0-9]-[A-Za-z0-9-]{10,}"),
    Shape("Slack hook", [b"hooks.slack.com/"], rb"hooks\.slack\.com/(?P<secret>[a-z]{1,20}/[A-Za-z0-9+/]{40,60})"),
    _token("npm token", b"npm_", rb"[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    Shape("npm token", [b"_authToken="], rb"_authToken=(?P<secret>[A-Za-z0-9_./+=-]{8,512})"),
    _token("PyPI token", b"pypi-Ag", rb"[A-Za-z0-9_-]{50,}"),
    Shape("Stripe key", [b"k_live_", b"k_test_"], rb"(?<![A-Za-z0-9])(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}"),
    _token("SendGrid key", b"SG.", rb"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _token("Hugging Face token", b"hf_", rb"[A-Za-z]{34}(?![A-Za-z0-9])"),
    _token("Vault token", b"hvs.", rb"[A-Za-z0-9_-]{24,}"),
    _token("Docker token", b"dckr_pat_", rb"[A-Za-z0-9_-]{20,}"),
    _token("age key", b"AGE-SECRET-KEY-1", rb"[A-Z0-9]{58}"),
    Shape("gateway token", [b"haikud."], rb"haikud\.[A-Za-z0-9_.-]{1,210}\.[0-9]{1,9}\.[0-9a-f]{64}(?![0-9a-f])"),
    Shape(
        "JSON web token",
        [b".eyJ"],
        rb"eyJ(?<![A-Za-z0-9_-]eyJ)[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?",
    ),
    Shape(
        "authorization",
        [b"uthorization", b"UTHORIZATION"],
        rb"(?:uthorization|UTHORIZATION)(?:\\?[\"'])?[ \t]{0,4}[:=][ \t]{0,4}(?:\\?[\"'])?"
        rb"(?:[Bb]asic|BASIC|[Tt]oken|TOKEN|[Bb]earer|BEARER|[Dd]igest)[ \t]{1,4}(?P<secret>[A-Za-z0-9._~+/=:-]{8,})",
    ),
    Shape("bearer token", [b"earer ", b"EARER "], rb"(?:earer|EARER) {1,4}(?P<secret>[A-Za-z0-9._~+/-]{20,}={0,2})"),
    Shape(
        "API key",
        [b"-api-key", b"-Api-Key", b"-API-K"],
        rb"-(?:api-key|Api-Key|API-K(?:ey|EY))(?:\\?[\"'])?[ \t]{0,4}[:=][ \t]{0,4}(?:\\?[\"'])?"
        rb"(?P<secret>[A-Za-z0-9._~+/=-]{12,})",
    ),
    Shape("password", [b"://"], rb"://[^\s/:@\"'<>\\]{0,128}:(?P<secret>[^\s/@\"'<>\[\]{}$\\]{1,256})@[A-Za-z0-9\[]"),
    Shape(
        "password",
        [b"login "],
        rb"login(?<![A-Za-z0-9_]login)[ \t]{1,4}\S{1,128}\s{1,4}password[ \t]{1,4}(?P<secret>[^\s\[]{4,256})",
    ),
    Shape(
        "password",
        [b"assword=", b"wd="],
        rb"(?:assword|[Pp]wd|asswd)=(?P<secret>[^\s;&\"'<>\[\](){}$\\]{4,256})",
        _in_connection,
    ),
    Shape("account key", [b"AccountKey="], rb"AccountKey=(?P<secret>[A-Za-z0-9+/]{40,}={0,2})"),
    Shape(
        "secret value",
        [b"TOKEN", b"SECRET", b"PASSW", b"_PWD", b"_KEY", b"APIKEY", b"PASSP", b"CREDENT"],
        rb"(?:TOKEN|SECRET|PASSW|_PWD|_KEY|APIKEY|PASSP|CREDENT)[A-Z0-9_]{0,40}(?P<name_end>)="
        rb"[\"']?(?P<secret>" + _VALUE + rb")",
        _names_a_secret,
    ),
)


@functools.cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Only those whose anchor was met are ever compiled."""
    return re.compile(pattern)


def shaped(data: bytes) -> Iterator[Span]:
    """Everything in `data` that looks like a secret; spans may overlap."""
    for shape in SHAPES:
        for anchor in shape.anchors:
            if anchor in data:
                yield from _matches(shape, data)
                break
    if PRIVATE_KEY in data:
        yield from _key_blocks(data)


def _matches(shape: Shape, data: bytes) -> Iterator[Span]:
    pattern = _compiled(shape.pattern)
    group = "secret" if "secret" in pattern.groupindex else 0
    for match in pattern.finditer(data):
        if shape.holds is None or shape.holds(match):
            yield Span(match.start(), match.start(group), match.end(group), shape.kind)


PRIVATE_KEY = b"PRIVATE KEY"
MOST_KEY_BYTES = 65_536
"""Of one block: what is longer is no key."""

KEY_BEGIN = re.compile(rb"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(rb"-----END[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINES = re.compile(
    rb"(?:(?:\s|\\[nr]){1,8}[A-Za-z0-9+/=]{20,}){0,2000}(?:(?:\s|\\[nr]){1,8}[A-Za-z0-9+/=]{1,76}=)?"
)


def _key_blocks(data: bytes) -> Iterator[Span]:
    """Blocks with their end; of one that has none (cut off by `head`), the lines that can be a key's."""
    at, end = 0, _KEY_END.search(data)
    while begin := KEY_BEGIN.search(data, at):
        while end is not None and end.start() < begin.end():
            end = _KEY_END.search(data, end.end())
        after = KEY_BEGIN.search(data, begin.end(), begin.end() + MOST_KEY_BYTES)
        is_whole = end is not None and end.start() - begin.end() <= MOST_KEY_BYTES
        if end is not None and is_whole and (after is None or after.start() > end.start()):
            at = end.end()
        else:
            lines = _KEY_LINES.match(data, begin.end())
            at = lines.end() if lines else begin.end()
        yield Span(begin.start(), begin.start(), at, "private key")


def open_key_block(data: bytes) -> int | None:
    """Where a block begins that has no end yet, so that the rest of it may still come."""
    if PRIVATE_KEY not in data:
        return None
    last = None
    for last in KEY_BEGIN.finditer(data):  # noqa: B007 -- the last one is meant
        pass
    return None if last is None or _KEY_END.search(data, last.end()) else last.start()

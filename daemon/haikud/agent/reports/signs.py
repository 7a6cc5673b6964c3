"""What known programs print when they fail, by cause: data for classify.py.

A pattern is searched in one line at a time, as printed by npm, yarn, pnpm, pip, uv, cargo, go, apt, git, curl and the
like. Most are bound to the start of the line: the same words inside a failing test's output are indented or prefixed,
and must not make its failure look like one that passes by itself.
"""

from __future__ import annotations

import re
from enum import StrEnum

_NPM = r"^npm (?:ERR!|error) "


class Cause(StrEnum):
    """Why something failed."""

    NETWORK = "network"
    FILE_LOCK = "file_lock"
    DEPENDENCY = "dependency"
    ACCESS = "access"
    CONFLICT = "conflict"
    SYNTAX = "syntax"
    MISSING = "missing"
    TESTS = "tests"


_PATTERNS: dict[Cause, tuple[str, ...]] = {
    Cause.ACCESS: (
        r"Permission denied \((?:publickey|password|keyboard)",
        r"^(?:fatal|remote): .*(?:Authentication failed|Invalid username or (?:password|token)|[Aa]ccess denied)",
        r"^fatal: could not read (?:Username|Password) for ",
        r"^fatal: unable to access '.*': The requested URL returned error: 40[13]",
        r"^(?:ERROR|remote): (?:Repository not found|Permission to .* denied)",
        _NPM + r"code E40[13]\b",
        r"^\W*(?:Caused by: )?HTTP status client error \(40[13]\b",  # uv, poetry
        r"^\s*failed to get (?:successful HTTP|200) response.*, got 40[13]\b",  # cargo
    ),
    Cause.NETWORK: (
        _NPM + r"(?:code |errno )(?:ENOTFOUND|EAI_AGAIN|ECONNRE(?:SET|FUSED)|E(?:SOCKET)?TIMEDOUT|ENETUNREACH)\b",
        _NPM + r"(?:code |errno )(?:EHOSTUNREACH|ECONNABORTED|ERR_SOCKET_TIMEOUT|E429|E50[0234])\b",
        _NPM + r"network ",
        r'^error .*(?:"https?://\S+: |getaddrinfo )(?:ENOTFOUND|EAI_AGAIN|E(?:SOCKET)?TIMEDOUT|ECONNRESET)',  # yarn
        r"^error An unexpected error occurred: .*\b(?:ENOTFOUND|EAI_AGAIN|E(?:SOCKET)?TIMEDOUT|ECONNRESET)\b",
        r"^info There appears to be trouble with your network connection",
        r"^\S+ YN0001: .*RequestError: .*\b(?:ENOTFOUND|ETIMEDOUT|ECONNRESET)\b",
        r"^\s*ERR_PNPM_(?:META_FETCH_FAIL|FETCH_(?:5\d\d|429))\b",
        r"^(?:WARNING: )?Retrying \(Retry\(total=0\b.*connection broken by",  # pip gives up
        r"^ERROR: (?:Could not install packages|Exception).*(?:HTTPS?ConnectionPool|Read timed out|ConnectionReset)",
        r"^pip\._vendor\.\S*(?:ReadTimeout|NewConnection|ConnectTimeout|Protocol|Connection)Error\b",
        r"^error: (?:Failed to fetch|Request failed after \d+ retries)\b",  # uv
        r"^\s*(?:╰─▶ |├─▶ |Caused by: )?(?:dns error|Could not connect, are you offline)",
        r"^All attempts to connect to \S+ failed",  # poetry
        r"^error: failed to download from `",  # cargo
        r"^\s*\[(?:5|6|7|28|35|52|56)\] (?:Could(?: not|n't)|Failed|Time-?out|SSL|Server returned nothing|Recv)",
        r"^fatal: unable to access '.*': (?:Could not resolve|Failed to connect|Connection|Operation timed out|Empty)",
        r"^fatal: unable to access '.*': (?:Recv failure|Send failure|SSL|OpenSSL|GnuTLS|TLS|transfer closed)",
        r"^fatal: unable to access '.*': The requested URL returned error: (?:429|5)",
        r"^fatal: unable to (?:connect to|look up) ",
        r"^(?:fatal|error): (?:RPC failed|early EOF|[Tt]he remote end hung up unexpectedly|expected flush after)",
        r"^ssh: (?:Could not resolve hostname|connect to host \S+ port \d+: (?:Connection|Network|No route|Operation))",
        r"^(?:kex_exchange_identification|Connection (?:closed|reset) by )",
        r"^curl: \((?:5|6|7|16|18|28|35|52|55|56|92)\) ",
        r"^wget: (?:unable to resolve host|.*(?:timed out|[Cc]onnection refused))",
        r"^(?:E|W|Err)(?::\d+)?:? (?!.* 40\d +[A-Z]).*(?:Failed to fetch|Temporary failure resolving)",
        r"^(?:E|W|Err)(?::\d+)?:? .*(?:Could not|Unable to) connect to",
        r"^(?:go: )?.*\bdial tcp:? .*: (?:no such host|i/o timeout|connect: connection (?:refused|timed))",
        r"^go: .*TLS handshake timeout",
        r"^(?:Could not reach host|Network error while fetching|Gem::RemoteFetcher::FetchError)",
        r"^\[ERROR\] .*Could not transfer artifact .*(?:timed out|Unknown host|Connection re)",  # maven
        r"^\s*curl error (?:6|7|28|35|56) while downloading",  # composer
        r"^requests\.exceptions\.(?:Connection|ProxyError|SSLError|ChunkedEncoding|ConnectTimeout|ReadTimeout|Timeout)",
        r"^urllib3?\.(?:exceptions\.)?(?:error\.URLError|\w*(?:NewConnection|Timeout|Protocol|MaxRetry)Error)\b",
        r"^socket\.(?:gaierror|timeout)\b",
        r"^(?:httpx2?|httpcore2?|aiohttp|anthropic|openai)\.\S*(?:Connect|Connection|Timeout|RemoteProtocol|Disconnected)",
        r"^(?:ConnectionResetError|ConnectionAbortedError|TimeoutError): \[Errno \d+\]",
        r"^(?:\w*Error|\[cause\]): .*(?:getaddrinfo E(?:NOTFOUND|AI_AGAIN)|connect ETIMEDOUT|ECONNRESET|socket hang)",
        r"^\S.*: (?:Temporary failure in name resolution|Network is unreachable|Name or service not known)\.?$",
        r"^\S*:? ?(?:error: )?Could not resolve host(?:name)?\b",
    ),
    Cause.FILE_LOCK: (
        r"\.lock': File exists",
        r"^(?:error|fatal): could not lock config file .*: File exists",
        r"^Another git process seems to be running",
        r"^E: Could not get lock ",
        r"^E: Unable to (?:acquire|lock) the ",
        r"^dpkg: error: .*lock .*(?:another process|locked)",
        _NPM + r"(?:code |errno )?(?:EBUSY|ELOCKED)\b",
        r"^(?:Uncaught )?\w*Error: EBUSY: ",
        r"^\w[\w.]*(?:Operational|Database|SQLite)\w*: .*database (?:table )?is locked",
        r"^(?:Runtime |Parse )?[Ee]rror(?: \S+)*: database is locked",  # sqlite3
        r"^\S.*: (?:Text file busy|Device or resource busy)$",
    ),
    Cause.DEPENDENCY: (
        _NPM + r"(?:code )?(?:ERESOLVE|EINTEGRITY|ETARGET|E404|EUSAGE|EBADENGINE|EBADPLATFORM)\b",
        _NPM + r"(?:Invalid response body|Unexpected end of JSON|cb\(\) never called)",
        r"^error (?:Couldn't find (?:any versions|package)|Integrity check failed|Your lockfile needs to be updated)",
        r"^\S+ YN00(?:18|28|35|82): ",
        r"^\s*ERR_PNPM_",
        r"^ERROR: (?:No matching distribution|Could not find a version|Cannot install|ResolutionImpossible)",
        r"^ERROR: (?:Failed (?:building wheel|to build)|Could not build wheels|THESE PACKAGES DO NOT MATCH)",
        r"^error: (?:subprocess-exited-with-error|metadata-generation-failed)",
        r"^\s*(?:×|x) No solution found when resolving",  # noqa: RUF001 -- uv's own sign
        r"^error: (?:failed to select a version|no matching package|failed to verify the checksum|checksum for )",
        r"^(?:go: |verifying ).*(?:unknown revision|checksum mismatch|missing go\.sum entry)",
        r"^(?:Bundler could not find compatible|Could not find gem|Could not find \S+ in (?:any|locally))",
        r"^\W*(?:Caused by: )?HTTP status client error \(4(?:04|10)\b",
        r"^\s*failed to get (?:successful HTTP|200) response.*, got 4(?:04|10)\b",
        r"^E: (?:Unable to locate package|Failed to fetch .* 404 |Unmet dependencies|.*Hash Sum mismatch)",
        r"^\[ERROR\] .*Could not resolve dependencies",
        r"^\s*Your requirements could not be resolved",
    ),
    Cause.CONFLICT: (
        r"^CONFLICT \(",
        r"^Automatic merge failed; fix conflicts",
        r"^error: (?:Merging is not possible|could not apply |you need to resolve your current index|.*unmerged files)",
        r"^\S+: needs merge$",
    ),
    Cause.SYNTAX: (
        r"^(?:E +)?\s*(?:SyntaxError|IndentationError|TabError):(?!.*(?:in JSON at|is not valid JSON|end of JSON))",
        r"\berror TS1\d\d\d: ",
        r"^\S+: (?:-c: )?(?:line )?\d+: (?:syntax error|Syntax error|unexpected EOF)",
        r"^\S+:\d+:(?:\d+:)? .*\bsyntax error\b",
        r"^(?:PHP )?Parse error: ",
        r"^\s*(?:\d+:\d+ +error +)?Parsing error: ",
        r"^error: (?:expected .*, found|unexpected closing delimiter|this file contains an unclosed delimiter)",
    ),
    Cause.MISSING: (
        r"^(?:E +)?(?:ModuleNotFoundError|ImportError): No module named ",
        r"^(?:E +)?FileNotFoundError: \[Errno 2\]",
        r"^\s*(?:Error: )?Cannot find module '",
        r"\berror TS2307: ",
        r"^\S+: (?:line \d+: |cannot (?:access|open|stat) )?\S.*: No such file or directory$",
        r"^\S+: (?:\d+: )?(?:cannot open|can't open) \S",
        r"^(?:Uncaught )?(?:Error: )?ENOENT: no such file",
        _NPM + r"(?:code |errno |enoent )ENOENT\b",
        r"^(?:\S+: )?can't open file '.*': \[Errno 2\]",
        r"^ERROR: Could not open requirements file",
        r"^make: \*\*\* No (?:rule to make target|targets specified and no makefile)",
        r"^error: could not find `Cargo\.toml`",
        r"^go: (?:go\.mod file not found|cannot find main module)",
        r"^(?:error|fatal): pathspec '.*' did not match any file",
    ),
    Cause.TESTS: (
        r"^=+ .*\b[1-9]\d* (?:failed|errors?)\b.* in [\d.]+s",  # pytest
        r"^[1-9]\d* (?:failed|errors?)\b.* in [\d.]+s",
        r"^FAILED \((?:failures|errors|unexpected successes)=",  # unittest
        r"^Tests:\s+[1-9]\d* failed",  # jest
        r"^\s*(?:Tests|Test Files)\s+[1-9]\d* failed",  # vitest
        r"^\s+[1-9]\d* failing$",  # mocha
        r"^test result: FAILED",  # cargo
        r"^--- FAIL: |^FAIL(?:\s|$)",  # go, jest
        r"^not ok \d|^# fail [1-9]",  # TAP
        r"^FAILURES!$|^\d+ examples?, [1-9]\d* failures?",  # phpunit, rspec
        _NPM + r"Test failed",
    ),
}

SIGNS: dict[Cause, re.Pattern[str]] = {
    cause: re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) for cause, patterns in _PATTERNS.items()
}
"""One pattern a cause, to be searched in a line; the order is that in which causes are asked."""

ON_THIS_MACHINE = re.compile(r"\blocalhost\b|\b127\.\d+\.\d+\.\d+|\[?::1\b|\b0\.0\.0\.0\b")
"""A connection to this machine that fails is no network trouble: a service is not there."""

COLLECTION = re.compile(
    r"\bERROR collecting\b|Failed to import test module|Test suite failed to run|^error TS|\berror TS\d+:"
    r"|^SyntaxError: |^\S+:\d+:(?:\d+:)? .*\bsyntax error\b|\[build failed\]|\[setup failed\]",
    re.MULTILINE,
)
"""A test program says that tests could not even be loaded."""

"""Failures are classified by what known programs print, and only by that."""

from __future__ import annotations

import time

import pytest

from haikud.agent.reports.classify import Classified, Doing, classify
from haikud.contracts.attempt import RECOVERABLE, FailureClass
from haikud.contracts.error_report import ErrorType

Kind = FailureClass
SETUP, AGENT, GIT, TESTS = Doing.SETUP, Doing.AGENT, Doing.GIT, Doing.TESTS

NPM_10_OFFLINE = """\
npm error code ENOTFOUND
npm error syscall getaddrinfo
npm error errno ENOTFOUND
npm error network request to https://registry.example.org/left-pad failed, reason: getaddrinfo ENOTFOUND
npm error network This is a problem related to network connectivity.
npm error A complete log of this run can be found in: /home/x/.npm/_logs/1.log
"""
PIP_OFFLINE = """\
WARNING: Retrying (Retry(total=1, connect=None)) after connection broken by 'NewConnectionError(...)': /simple/x/
WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(...)': /simple/x/
ERROR: Could not find a version that satisfies the requirement x (from versions: none)
ERROR: No matching distribution found for x
"""
CARGO_OFFLINE = """\
warning: spurious network error (1 try remaining): [6] Couldn't resolve host name
error: failed to get `serde` as a dependency of package `a v0.1.0`

Caused by:
  [6] Couldn't resolve host name (Could not resolve host: index.example.org)
"""
GO_OFFLINE = 'go: github.example.org/x: Get "https://p.example.org/x": dial tcp: lookup p.example.org: no such host'
PYTEST_THAT_SAYS_TIMEOUT = """\
    def test_fetch():
>       assert fetch() == 1
E       requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='x', port=443): Read timed out.
FAILED tests/test_fetch.py::test_fetch - requests.exceptions.ReadTimeout: Read timed out.
========================= 1 failed, 3 passed in 0.12s =========================
"""
UNITTEST_OFFLINE = """\
Traceback (most recent call last):
  File "test_x.py", line 3, in test_x
ConnectionResetError: [Errno 104] Connection reset by peer
----------------------------------------------------------------------
Ran 2 tests in 0.001s

FAILED (errors=1)
"""
JEST_TIMEOUT = """\
  ● login redirects
    thrown: "Exceeded timeout of 5000 ms for a test."
    Error: connect ETIMEDOUT 10.0.0.1:443
Tests:       1 failed, 2 passed, 3 total
npm error Test failed.  See above for more details.
"""
GO_TESTS = "--- FAIL: TestDial (0.00s)\n    x_test.go:9: dial tcp 10.0.0.1:80: i/o timeout\nFAIL\nFAIL\texample.org/x\t0.003s\n"
MOCHA = "  1 failing\n\n  1) login:\n     Error: connect ETIMEDOUT 10.0.0.1:443\n      at x.js:1:1\n"
COLLECTED = 'ERROR collecting test_x.py\nE     File "x.py", line 1\nE   SyntaxError: invalid syntax\n1 error in 0.05s\n'
GIT_LOCKED = """\
fatal: Unable to create '/r/.git/index.lock': File exists.

Another git process seems to be running in this repository, e.g.
an editor opened by 'git commit'.
"""
NO_ROUTE = "ssh: connect to host git.example.org port 22: Network is unreachable\nfatal: Could not read from remote"
NO_KEY = "git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository."
FETCH_FAILED = "fatal: unable to access 'https://example.org/r.git/': Could not resolve host: example.org"
STALE = 'npm ERR! code ETIMEDOUT\nonce more\nadded 12 packages\n/bin/sh: 1: Syntax error: "fi" unexpected\n'

RECOGNISED = [
    # the network
    (SETUP, 1, NPM_10_OFFLINE, Kind.NETWORK),
    (SETUP, 1, "npm ERR! code ECONNRESET\nnpm ERR! network aborted", Kind.NETWORK),
    (SETUP, 1, "npm ERR! code ETIMEDOUT\nnpm ERR! errno ETIMEDOUT", Kind.NETWORK),
    (SETUP, 1, "npm ERR! code EAI_AGAIN", Kind.NETWORK),
    (SETUP, 1, "npm ERR! code E503\nnpm ERR! 503 Service Unavailable", Kind.NETWORK),
    (SETUP, 1, 'error An unexpected error occurred: "https://r.example.org/x: getaddrinfo ENOTFOUND r".', Kind.NETWORK),
    (SETUP, 1, " ERR_PNPM_META_FETCH_FAIL  GET https://r.example.org/x: request failed", Kind.NETWORK),
    (SETUP, 1, PIP_OFFLINE, Kind.NETWORK),
    (SETUP, 2, "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.", Kind.NETWORK),
    (SETUP, 1, "ERROR: Could not install packages due to an OSError: HTTPSConnectionPool(...)", Kind.NETWORK),
    (SETUP, 2, "error: Failed to fetch: `https://example.org/simple/x/`", Kind.NETWORK),
    (SETUP, 2, "error: Failed to fetch: `x`\n  Caused by: HTTP status client error (403 Forbidden)", Kind.PERMANENT),
    (SETUP, 100, "E: Failed to fetch http://deb.example.org/x  404  Not Found [IP: 1 80]", Kind.DEPENDENCY_INSTALL),
    (SETUP, 101, CARGO_OFFLINE, Kind.NETWORK),
    (SETUP, 1, GO_OFFLINE, Kind.NETWORK),
    (SETUP, 6, "curl: (6) Could not resolve host: example.org", Kind.NETWORK),
    (SETUP, 28, "curl: (28) Operation timed out after 5000 milliseconds", Kind.NETWORK),
    (SETUP, 4, "wget: unable to resolve host address 'example.org'", Kind.NETWORK),
    (SETUP, 100, "E: Failed to fetch http://deb.example.org/x.deb  Temporary failure resolving 'deb'", Kind.NETWORK),
    (SETUP, 2, "ping: example.org: Temporary failure in name resolution", Kind.NETWORK),
    (SETUP, 128, FETCH_FAILED, Kind.NETWORK),
    (AGENT, 1, "Error: getaddrinfo ENOTFOUND example.org\n    at GetAddrInfo (node:dns:120:26)", Kind.NETWORK),
    (AGENT, 1, "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='example.org')", Kind.NETWORK),
    (AGENT, 1, "anthropic.APIConnectionError: Connection error.", Kind.NETWORK),
    (AGENT, 1, "\x1b[31mcurl: (52) Empty reply from server\x1b[0m", Kind.NETWORK),
    (AGENT, 1, "1 passed in 0.01s\n" + FETCH_FAILED, Kind.NETWORK),
    (GIT, 128, FETCH_FAILED, Kind.NETWORK),
    (GIT, 128, NO_ROUTE, Kind.NETWORK),
    (GIT, 128, "fatal: the remote end hung up unexpectedly", Kind.NETWORK),
    (GIT, 128, "fatal: unable to access 'https://e.org/': The requested URL returned error: 502", Kind.NETWORK),
    # file locks
    (GIT, 128, GIT_LOCKED, Kind.FILE_LOCK),
    (GIT, 1, "error: cannot lock ref 'refs/heads/x': Unable to create '/r/x.lock': File exists.", Kind.FILE_LOCK),
    (GIT, 255, "error: could not lock config file .git/config: File exists", Kind.FILE_LOCK),
    (AGENT, 128, GIT_LOCKED, Kind.FILE_LOCK),
    (SETUP, 100, "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7", Kind.FILE_LOCK),
    (SETUP, 1, "npm ERR! code EBUSY\nnpm ERR! syscall rename", Kind.FILE_LOCK),
    (AGENT, 1, "sqlite3.OperationalError: database is locked", Kind.FILE_LOCK),
    (SETUP, 1, "cp: cannot create regular file 'bin/x': Text file busy", Kind.FILE_LOCK),
    # dependencies
    (SETUP, 1, "npm ERR! code ERESOLVE\nnpm ERR! ERESOLVE unable to resolve dependency tree", Kind.DEPENDENCY_INSTALL),
    (SETUP, 1, "npm error code EINTEGRITY\nnpm error sha512-x integrity checksum failed", Kind.DEPENDENCY_INSTALL),
    (SETUP, 1, "ERROR: No matching distribution found for no-such-thing", Kind.DEPENDENCY_INSTALL),
    (SETUP, 1, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", Kind.DEPENDENCY_INSTALL),
    (SETUP, 1, "error: subprocess-exited-with-error", Kind.DEPENDENCY_INSTALL),
    (SETUP, 101, "error: failed to select a version for `x`.", Kind.DEPENDENCY_INSTALL),
    (SETUP, 1, "verifying example.org/x@v1.0.0: checksum mismatch", Kind.DEPENDENCY_INSTALL),
    (AGENT, 1, "npm error code ERESOLVE", Kind.DEPENDENCY_INSTALL),
    # says so itself
    (SETUP, 75, "", Kind.TEMPORARY),
    (AGENT, 75, "SyntaxError: whatever", Kind.TEMPORARY),
    # merge conflicts
    (GIT, 1, "CONFLICT (content): Merge conflict in calc.py", Kind.MERGE_CONFLICT),
    (AGENT, 1, "CONFLICT (content): Merge conflict in a\nAutomatic merge failed; fix conflicts", Kind.MERGE_CONFLICT),
    # syntax errors
    (AGENT, 1, '  File "x.py", line 1\n    def\n       ^\nSyntaxError: invalid syntax', Kind.SYNTAX_ERROR),
    (AGENT, 2, "src/a.ts(3,5): error TS1005: ';' expected.", Kind.SYNTAX_ERROR),
    (AGENT, 2, "bash: line 1: syntax error near unexpected token `)'", Kind.SYNTAX_ERROR),
    (SETUP, 2, STALE, Kind.SYNTAX_ERROR),
    (TESTS, 2, COLLECTED, Kind.SYNTAX_ERROR),
    # missing files
    (AGENT, 1, "ModuleNotFoundError: No module named 'calc'", Kind.MISSING_FILE),
    (AGENT, 1, "Error: Cannot find module './calc'\nRequire stack:\n- /x.js", Kind.MISSING_FILE),
    (AGENT, 1, "cat: nothing.txt: No such file or directory", Kind.MISSING_FILE),
    (SETUP, 254, "npm error code ENOENT\nnpm error enoent Could not read package.json", Kind.MISSING_FILE),
    (SETUP, 1, "ERROR: Could not open requirements file: [Errno 2] No such file: 'r.txt'", Kind.MISSING_FILE),
    (SETUP, 2, "make: *** No rule to make target 'setup'.  Stop.", Kind.MISSING_FILE),
    (SETUP, 127, "bash: line 1: npm: command not found", Kind.MISSING_FILE),
    (TESTS, 127, "bash: line 1: pytest: command not found", Kind.MISSING_FILE),
    (TESTS, 126, "bash: line 1: ./t.sh: Permission denied", Kind.MISSING_FILE),
    (TESTS, 2, "ERROR collecting test_x.py\nE   ModuleNotFoundError: No module named 'calc'", Kind.MISSING_FILE),
    # failing tests, whatever they talk about
    (AGENT, 1, PYTEST_THAT_SAYS_TIMEOUT, Kind.TEST_FAILURE),
    (AGENT, 1, UNITTEST_OFFLINE, Kind.TEST_FAILURE),
    (AGENT, 1, JEST_TIMEOUT, Kind.TEST_FAILURE),
    (AGENT, 1, GO_TESTS, Kind.TEST_FAILURE),
    (AGENT, 1, MOCHA, Kind.TEST_FAILURE),
    (AGENT, 101, "test result: FAILED. 1 passed; 1 failed; 0 ignored", Kind.TEST_FAILURE),
    # refused is not unreachable
    (GIT, 128, NO_KEY, Kind.PERMANENT),
    (GIT, 128, "fatal: Authentication failed for 'https://example.org/r.git/'", Kind.PERMANENT),
    (SETUP, 1, "npm ERR! code E401", Kind.PERMANENT),
]

NOT_RECOGNISED = [
    (TESTS, 1, PYTEST_THAT_SAYS_TIMEOUT),
    (TESTS, 1, UNITTEST_OFFLINE),
    (TESTS, 1, JEST_TIMEOUT),
    (TESTS, 1, GO_TESTS),
    (TESTS, 1, FETCH_FAILED),
    (TESTS, 1, "AssertionError: 'SyntaxError: x' != 'SyntaxError: y'"),
    (TESTS, 1, "FileNotFoundError: [Errno 2] No such file or directory: 'out.txt'\nFAILED (errors=1)"),
    (AGENT, 1, "the login timed out"),
    (AGENT, 1, "ERROR timeout"),
    (AGENT, 1, "E       ConnectionResetError: [Errno 104]"),
    (AGENT, 1, "    Error: connect ETIMEDOUT 10.0.0.1:443"),
    (AGENT, 1, "no network"),
    (AGENT, 1, "SyntaxError: Unexpected token o in JSON at position 1"),
    (AGENT, 7, "curl: (7) Failed to connect to localhost port 8080: Connection refused"),
    (AGENT, 1, "Error: connect ECONNREFUSED 127.0.0.1:5432"),
    (AGENT, 1, "npm ERR! code ELIFECYCLE"),
    (AGENT, 1, FETCH_FAILED + "\nit went on" * 60),  # said long before the end
    (AGENT, 0, FETCH_FAILED),
    (AGENT, -9, FETCH_FAILED),
    (AGENT, None, FETCH_FAILED),
    (SETUP, 1, "npm warn network ETIMEDOUT, tried again"),
    (SETUP, 1, "no network"),
    (SETUP, 1, ""),
    (GIT, 1, "fatal: not a git repository"),
    (GIT, 128, "fatal: a branch named 'x' already exists"),
]


@pytest.mark.parametrize(("doing", "exit_code", "output", "kind"), RECOGNISED)
def test_known_output_says_what_it_is(doing: Doing, exit_code: int, output: str, kind: Kind):
    found = classify(exit_code, output, doing)
    assert found is not None
    assert found.failure_class is kind
    assert found.code


@pytest.mark.parametrize(("doing", "exit_code", "output"), NOT_RECOGNISED)
def test_what_is_not_known_is_not_guessed(doing: Doing, exit_code: int | None, output: str):
    assert classify(exit_code, output, doing) is None


def test_a_test_command_is_never_tried_again_for_its_output():
    for _, exit_code, output, _ in RECOGNISED:
        found = classify(exit_code, output, TESTS)
        assert found is None or found.failure_class not in RECOVERABLE


@pytest.mark.parametrize(
    ("doing", "output", "expected"),
    [
        (SETUP, "curl: (6) x", (Kind.NETWORK, "NETWORK_ERROR", ErrorType.DEPENDENCY_ERROR)),
        (AGENT, "curl: (6) x", (Kind.NETWORK, "NETWORK_ERROR", ErrorType.AGENT_ERROR)),
        (GIT, GIT_LOCKED, (Kind.FILE_LOCK, "FILE_LOCKED", ErrorType.GIT_ERROR)),
        (AGENT, "CONFLICT (content): x", (Kind.MERGE_CONFLICT, "MERGE_CONFLICT", ErrorType.GIT_ERROR)),
        (AGENT, "SyntaxError: x", (Kind.SYNTAX_ERROR, "SYNTAX_ERROR", ErrorType.BUILD_ERROR)),
        (AGENT, "FAILED (errors=1)", (Kind.TEST_FAILURE, "TEST_FAILURE", ErrorType.TEST_FAILURE)),
        (AGENT, "npm ERR! code ERESOLVE", (Kind.DEPENDENCY_INSTALL, "DEPENDENCY_INSTALL", ErrorType.DEPENDENCY_ERROR)),
    ],
)
def test_a_report_gets_its_code_and_type_and_the_line_that_says_so(
    doing: Doing, output: str, expected: tuple[Kind, str, ErrorType]
):
    found = classify(1, f"before\n{output}\n", doing)
    assert isinstance(found, Classified)
    assert (found.failure_class, found.code, found.type) == expected
    assert found.said in output


def test_hostile_output_does_not_take_long():
    lines = [
        "dial tcp " * 5000,
        "fatal: unable to access '" + "x': " * 5000,
        "a: " * 9000,
        "=" * 20_000 + " 1 failed in",
    ]
    began = time.monotonic()
    for line in lines:
        classify(1, "\n".join([line] * 60), AGENT)
    assert time.monotonic() - began < 5

"""A double of GitHub's REST API for issues: a real HTTPS server on loopback, for the real gh.

gh takes it for an enterprise host (`GH_HOST=localhost:PORT`, paths below /api/v3) and trusts its certificate by
SSL_CERT_FILE. Faults are ordered one by one: a rate limit, a server error, an answer that is lost after the work.
"""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

needs_gh = pytest.mark.skipif(
    shutil.which("gh") is None or shutil.which("openssl") is None,
    reason="needs gh and openssl: apt-get install gh openssl",
)

TOKEN = "ghp_made_up_token_of_the_tests"
REPOSITORY = "octo/calculator"

Json = dict[str, Any]


@dataclass
class Fault:
    """What the next request gets instead of its answer, or after it (`lost`: it is done, and the line goes dead)."""

    status: int = 0
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False


def limited(seconds: float, *, secondary: bool = False) -> Fault:
    """A rate limit that ends in so many seconds."""
    if secondary:
        return Fault(403, "You have exceeded a secondary rate limit", {"Retry-After": str(int(seconds))})
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time() + seconds))}
    return Fault(403, "API rate limit exceeded for user ID 1.", headers)


class GitHubDouble:
    """One repository with issues. `journal`: what was asked, `METHOD PATH`, in order."""

    def __init__(self, folder: Path) -> None:
        self.issues: dict[int, Json] = {}
        self.comments: dict[int, list[Json]] = {}
        self.journal: list[str] = []
        self.faults: dict[str, list[Fault]] = {}  # METHOD -> those of its next calls
        self.may_push = True  # who may not: labels are dropped without a word
        self.has_issues = True
        self._lock = threading.Lock()
        self.certificate = folder / "certificate.pem"
        _certify(self.certificate, folder / "key.pem")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "key.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs so that its gh finds the double, and no other; the token apart."""
        return {"GH_HOST": self.host, "SSL_CERT_FILE": str(self.certificate)}

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def begin_anew(self) -> None:
        """No issues, no faults, an empty journal."""
        for box in (self.issues, self.comments, self.journal, self.faults):
            box.clear()
        self.may_push = self.has_issues = True

    def fail(self, method: str, *faults: Fault) -> None:
        """Order faults for the next calls of a method; `Fault()` lets one through."""
        self.faults.setdefault(method, []).extend(faults)

    def asked(self, method: str) -> list[str]:
        """The paths that were asked for by a method."""
        return [line.partition(" ")[2] for line in self.journal if line.startswith(f"{method} ")]

    def answer(self, method: str, target: str, token: str, body: Json) -> tuple[int, Any, dict[str, str], bool]:
        """Status, document, headers, and whether the answer gets lost."""
        with self._lock:
            path = urlsplit(target).path
            self.journal.append(f"{method} {path}")
            fault = self.faults[method].pop(0) if self.faults.get(method) else Fault()
            if fault.status:
                return fault.status, {"message": fault.message}, fault.headers, False
            if token != TOKEN:
                message = "Bad credentials" if token else "Requires authentication"
                return 401, {"message": message}, {}, False
            query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
            status, document = self._route(method, path, query, body)
            return status, document, {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999"}, fault.lost

    def _route(self, method: str, path: str, query: dict[str, str], body: Json) -> tuple[int, Any]:  # noqa: C901, PLR0911 - a table
        if path == "/api/v3/user":
            return 200, {"login": "octocat"}
        if path == f"/api/v3/repos/{REPOSITORY}":
            return 200, {"full_name": REPOSITORY, "has_issues": self.has_issues}
        found = re.fullmatch(rf"/api/v3/repos/{REPOSITORY}/issues((?:/[a-z0-9]+)*)", path)
        if found is None:
            return 404, {"message": "Not Found"}
        parts = found[1].strip("/").split("/") if found[1] else []
        match method, parts:
            case "GET", []:
                return 200, self._list(query)
            case "POST", []:
                return self._create(body)
            case _, ["comments", number]:
                return self._of_comment(method, int(number), body)
        issue = self.issues.get(int(parts[0]))
        if issue is None:
            return 404, {"message": "Not Found"}
        match method, parts[1:]:
            case "GET", []:
                return 200, issue
            case "PATCH", []:
                self._change(issue, body)
                return 200, issue
            case "POST", ["labels"]:
                self._change(issue, {"labels": [*(one["name"] for one in issue["labels"]), *body["labels"]]})
                return 200, issue["labels"]
            case "GET", ["comments"]:
                return 200, _page(self.comments[issue["number"]], query)
            case "POST", ["comments"]:
                return 201, self._comment(issue["number"], body["body"])
        return 404, {"message": "Not Found"}

    def _create(self, body: Json) -> tuple[int, Any]:
        if not body.get("title"):
            return 422, {"message": "Validation Failed", "errors": [{"code": "missing_field", "field": "title"}]}
        number = max(self.issues, default=0) + 1
        issue: Json = {
            "number": number,
            "title": "",
            "body": None,
            "state": "open",
            "labels": [],
            "html_url": f"https://{self.host}/{REPOSITORY}/issues/{number}",
            "created_at": _now(),
            "updated_at": _now(),
        }
        self._change(issue, {"labels": [], **body})
        self.issues[number], self.comments[number] = issue, []
        return 201, issue

    def _change(self, issue: Json, body: Json) -> None:
        issue.update({name: body[name] for name in ("title", "body", "state") if name in body}, updated_at=_now())
        if "labels" in body and self.may_push:
            issue["labels"] = [{"name": name} for name in dict.fromkeys(body["labels"])]

    def _list(self, query: dict[str, str]) -> list[Json]:
        assert query.get("sort") == "created"
        assert query.get("direction") == "desc"
        wanted = set(filter(None, query.get("labels", "").split(",")))
        found = [
            one
            for one in sorted(self.issues.values(), key=lambda one: -one["number"])
            if query.get("state", "open") in {"all", one["state"]}
            and wanted <= {label["name"] for label in one["labels"]}
            and one["updated_at"] >= query.get("since", "")
        ]
        return _page(found, query)

    def _comment(self, number: int, text: str) -> Json:
        count = 1 + sum(len(one) for one in self.comments.values())
        comment = {"id": count, "body": text, "created_at": _now()}
        self.comments[number].append(comment)
        return comment

    def _of_comment(self, method: str, wanted: int, body: Json) -> tuple[int, Any]:
        for comments in self.comments.values():
            for comment in comments:
                if comment["id"] == wanted and method == "PATCH":
                    comment["body"] = body["body"]
                    return 200, comment
                if comment["id"] == wanted and method == "DELETE":
                    comments.remove(comment)
                    return 204, None
        return 404, {"message": "Not Found"}


def _page(found: list[Json], query: dict[str, str]) -> list[Json]:
    size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
    return found[size * (page - 1) : size * page]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _certify(certificate: Path, key: Path) -> None:
    """A certificate for localhost, of its own authority, as openssl makes them."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-days", "2", "-keyout", str(key), "-out", str(certificate), *names]
    subprocess.run(argv, check=True, capture_output=True)


def _handler_of(double: GitHubDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def setup(self) -> None:
            self.request.do_handshake()
            super().setup()

        def handle_any(self) -> None:
            token = (self.headers.get("Authorization") or "").rpartition(" ")[2]
            body = self._body()
            status, document, headers, lost = double.answer(
                self.command, self.path, token, json.loads(body) if body else {}
            )
            self.close_connection = True
            if lost:
                return
            data = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(data)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def _body(self) -> bytes:
            if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_args: object) -> None:
            pass

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the names that the server looks for

    return Handler

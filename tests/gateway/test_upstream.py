"""What goes to the API, and what comes back: headers by name, the credential as the API wants it."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from tests.support.gateway_process import CREDENTIAL, an_order

from haikud.gateway.upstream import Upstream, passed_back

SENT = {
    "Authorization": "Bearer haikud.plan.1.secret",
    "X-Api-Key": "haikud.plan.1.secret",
    "Cookie": "a=b",
    "Host": "127.0.0.1",
    "Accept-Encoding": "gzip",
    "Connection": "keep-alive",
    "X-Forwarded-For": "1.2.3.4",
    "Anthropic-Beta": "effort-2025-11-24,context-management-2025-06-27",
    "Anthropic-Version": "2023-06-01",
    "X-Stainless-Retry-Count": "0",
    "User-Agent": "claude-cli/2",
}


@pytest.mark.parametrize(
    ("credential", "added"),
    [
        (CREDENTIAL, {"x-api-key": CREDENTIAL}),
        ("sk-ant-oat01-x", {"authorization": "Bearer sk-ant-oat01-x"}),
    ],
)
async def test_headers_are_passed_on_by_name(credential: str, added: dict[str, str]):
    upstream = Upstream(an_order("http://127.0.0.1:9").model_copy(update={"credential": credential}))
    headers = {name.lower(): value for name, value in upstream._headers(CIMultiDict(SENT)).items()}
    await upstream.close()
    betas = SENT["Anthropic-Beta"] + (",oauth-2025-04-20" if "authorization" in added else "")
    assert headers == {
        "anthropic-beta": betas,
        "anthropic-version": "2023-06-01",
        "x-stainless-retry-count": "0",
        "user-agent": "claude-cli/2",
        "content-type": "application/json",
        "accept-encoding": "identity",
        **added,
    }


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.example", "https://api.example/v1/messages?beta=true"),
        ("https://proxy.example/anthropic/", "https://proxy.example/anthropic/v1/messages?beta=true"),
    ],
)
async def test_the_path_and_the_query_are_kept(base: str, url: str):
    upstream = Upstream(an_order(base))
    assert str(upstream._url("/v1/messages", "beta=true")) == url
    assert upstream._session.trust_env
    await upstream.close()


async def test_loopback_is_never_asked_through_a_proxy():
    for base in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"):
        upstream = Upstream(an_order(base))
        assert not upstream._session.trust_env
        await upstream.close()


def test_what_comes_back_is_what_a_client_needs():
    answer = {
        "Content-Type": "text/event-stream",
        "request-id": "req_1",
        "retry-after": "3",
        "anthropic-ratelimit-requests-remaining": "7",
        "Set-Cookie": "a=b",
        "Transfer-Encoding": "chunked",
        "Content-Length": "7",
        "Connection": "close",
    }
    back = passed_back(CIMultiDictProxy(CIMultiDict(answer)))
    assert set(back) == {"Content-Type", "request-id", "retry-after", "anthropic-ratelimit-requests-remaining"}

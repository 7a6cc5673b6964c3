"""Every fault as the real client meets it, and the script going on afterwards."""

from __future__ import annotations

import json
import time
from typing import Any

import anthropic
import httpx2
import pytest
from tests.offline.asking import request, streamed, user
from tests.offline.conftest import Open

TEXT = "A sentence that is long enough for several deltas. " * 4


def turn(**fault: Any) -> dict[str, Any]:
    return {"text": TEXT, "fault": fault}


def goes_on(client: anthropic.Anthropic) -> bool:
    message = streamed(client, request())
    return bool(message.stop_reason == "end_turn" and message.content[0].text == f"[scripted] {TEXT.strip()}")


@pytest.mark.parametrize(
    ("status", "error", "error_type"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (402, anthropic.APIStatusError, "billing_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (408, anthropic.APIStatusError, "timeout_error"),
        (409, anthropic.ConflictError, "conflict_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (504, anthropic.InternalServerError, "timeout_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_a_status(serve: Open, status: int, error: type[anthropic.APIStatusError], error_type: str):
    api, client = serve(turn(kind="status", status=status))
    with pytest.raises(error) as raised:
        streamed(client, request())
    assert raised.value.status_code == status
    assert raised.value.body["error"]["type"] == error_type  # type: ignore[index]
    assert raised.value.request_id == api.journal[0].request_id
    assert goes_on(client)
    assert api.journal[0].usage is None


def test_a_status_with_retry_after_words_and_headers_of_its_own(serve: Open):
    fault = {"kind": "status", "status": 429, "retry_after": 1.5, "message": "Slow.", "headers": {"x-own": "1"}}
    _, client = serve(turn(**fault))
    with pytest.raises(anthropic.RateLimitError, match=r"Slow\.") as raised:
        streamed(client, request())
    assert (raised.value.response.headers["retry-after"], raised.value.response.headers["x-own"]) == ("1.5", "1")


def test_times_and_the_clients_own_retries(serve: Open):
    api, client = serve(turn(kind="status", status=529, times=2, retry_after=0.01))
    assert goes_on(client.with_options(max_retries=2))
    assert [exchange.status for exchange in api.journal] == [529, 529, 200]


def test_a_fault_counts_for_each_dialogue_or_for_all_of_them(serve: Open):
    own, own_client = serve(turn(kind="status", status=500))
    shared, shared_client = serve(turn(kind="status", status=500, per="server"))
    for client in (own_client, shared_client):
        for text in ("one", "two"):
            for _ in range(2):
                try:
                    client.messages.create(**request(user(text)))
                except anthropic.InternalServerError:
                    continue
    assert [exchange.status for exchange in own.journal] == [500, 200, 500, 200]
    assert [exchange.status for exchange in shared.journal] == [500, 200, 200, 200]


def test_a_fault_without_an_end(serve: Open):
    _, client = serve(turn(kind="status", status=500, times=None))
    for _ in range(4):
        with pytest.raises(anthropic.InternalServerError):
            client.messages.create(**request())


def test_a_cut_stream_is_a_raw_protocol_error(serve: Open):
    api, client = serve(turn(kind="cut", after_events=4))
    seen = []
    with (
        pytest.raises(httpx2.RemoteProtocolError),
        client.messages.create(**request(), stream=True) as stream,
    ):
        seen.extend(event.type for event in stream)
    assert seen[0] == "message_start"
    assert api.wait_for(1)[0].events_sent == 4
    assert not api.journal[0].complete
    assert goes_on(client)


def test_a_cut_before_the_first_byte_is_a_connection_error(serve: Open):
    _, client = serve(turn(kind="cut", after_events=0, times=2))
    with pytest.raises(anthropic.APIConnectionError):
        streamed(client, request())
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**request())
    assert goes_on(client)


def test_a_stall_is_a_raw_read_timeout_for_the_impatient(serve: Open):
    _, client = serve(turn(kind="stall", after_events=3, seconds=30))
    with pytest.raises(httpx2.ReadTimeout):
        streamed(client.with_options(timeout=0.3), request())
    assert goes_on(client)


def test_a_short_stall_is_only_slow(serve: Open):
    api, client = serve(turn(kind="stall", after_events=3, seconds=0.3))
    begun = time.monotonic()
    assert goes_on(client)
    assert time.monotonic() - begun >= 0.3
    assert api.wait_for(1)[0].complete


def test_a_truncated_stream_raises_nothing_and_has_no_stop_reason(serve: Open):
    api, client = serve(turn(kind="truncate", after_events=5, times=1))
    with client.messages.create(**request(), stream=True) as stream:
        kinds = [event.type for event in stream]
    assert len(kinds) == 4  # the fifth was a ping
    assert "message_stop" not in kinds
    assert not api.wait_for(1)[0].complete
    assert goes_on(client)


def test_a_truncation_comes_before_the_message_delta_at_the_latest(serve: Open):
    _, client = serve(turn(kind="truncate", after_events=1000))
    message = streamed(client, request())
    assert message.stop_reason is None
    assert message.content[0].text == f"[scripted] {TEXT.strip()}"


def test_a_corrupt_chunk_is_a_json_error(serve: Open):
    _, client = serve(turn(kind="corrupt", after_events=3))
    with pytest.raises(json.JSONDecodeError):
        streamed(client, request())
    assert goes_on(client)


def test_an_error_event_inside_the_stream(serve: Open):
    _, client = serve(turn(kind="error_event", after_events=3))
    with pytest.raises(anthropic.APIStatusError) as raised:
        streamed(client, request())
    assert raised.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]
    assert goes_on(client)


def test_a_delay_is_before_the_first_byte(serve: Open):
    _, client = serve(turn(kind="delay", delay_seconds=0.3))
    begun = time.monotonic()
    assert goes_on(client)
    assert time.monotonic() - begun >= 0.3


def test_stopping_the_server_ends_a_silence(serve: Open):
    from threading import Thread

    api, client = serve(turn(kind="delay", delay_seconds=60))

    def ask() -> None:
        try:
            client.messages.create(**request())
        except anthropic.APIConnectionError:
            return

    asking = Thread(target=ask)
    asking.start()
    while not (api.journal and api.journal[0].fault):
        time.sleep(0.01)
    begun = time.monotonic()
    api.stop()
    asking.join(timeout=10)
    assert time.monotonic() - begun < 5

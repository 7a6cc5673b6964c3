"""Every fault of the API, over real HTTP with the real client: tried again within bounds, waited out, or told at once."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import formatdate

import pytest
from tests.support.messages_double import MessagesDouble, Silence, Status, says
from tests.support.waiting import wait_until

from haikud.contracts.attempt import FailureClass
from haikud.contracts.error_report import ErrorType

PASSING = {
    "cut": says("half an answer", broken="cut"),
    "stall": says("half an answer", broken="stall"),
    "truncate": says("half an answer", broken="truncate"),
    "truncated at once": says("", broken="truncate", events=0),
    "corrupt": says("half an answer", broken="corrupt"),
    "overloaded in the stream": says("half an answer", broken="error"),
    "error in the stream": says("half an answer", broken="error", error="api_error"),
    "unknown error in the stream": says("half an answer", broken="error", error="new_error"),
    "silence": Silence(),
    **{str(status): Status(status) for status in (408, 409, 500, 501, 502, 503, 504)},
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_passing_fault_is_tried_again(desk, fault):
    with MessagesDouble([fault, fault, says("Done.")]) as api:
        end = desk.run(api.base_url, api={"stall_seconds": 0.2})
    assert (end.kind, len(api.journal)) == ("done", 3)
    assert [line.split()[1] for line in desk.retries()] == ["1/3", "2/3"]
    assert len(desk.events("retry")) == 2
    bodies = [request.body for request in api.journal]
    assert bodies[0]["messages"] == bodies[1]["messages"] == bodies[2]["messages"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PASSING["cut"], "API_STREAM_BROKEN"),
        (PASSING["truncate"], "API_STREAM_BROKEN"),
        (PASSING["corrupt"], "API_STREAM_BROKEN"),
        (PASSING["stall"], "API_STREAM_BROKEN"),
        (Silence(), "API_UNREACHABLE"),
        (Status(500, message="we broke"), "API_500"),
    ],
)
def test_a_lasting_fault_ends_in_a_failure_that_says_what_happened(desk, fault, code):
    with MessagesDouble([fault] * 5) as api:
        end = desk.run(api.base_url, api={"stall_seconds": 0.2})
    assert (end.kind, len(api.journal)) == ("failed", 3)
    assert end.error is not None
    assert (end.error.type, end.error.code) == (ErrorType.API_ERROR, code)
    assert end.error.failure_class is FailureClass.NETWORK
    assert "3 tries" in end.error.message
    assert len(end.error.attempted) == 3
    assert end.error.suggested_action
    assert len(desk.retries()) == 2


def test_a_broken_stream_is_paid_for_as_far_as_it_was_seen(desk):
    cut = says("x" * 300, broken="cut", events=4, usage={"input_tokens": 700, "output_tokens": 400})
    with MessagesDouble([cut, says("Done.")]) as api:
        end = desk.run(api.base_url)
    first, second = desk.events("usage")
    assert (first["usage"]["estimated"], second["usage"]["estimated"]) == (True, False)
    assert (first["usage"]["input_tokens"], first["usage"]["output_tokens"]) == (700, 100)
    assert end.usage.tokens_used == 700 + 100 + 1100
    assert end.usage.requests == 2


def test_a_refused_connection_is_tried_again_and_then_told(desk):
    with socket.socket() as held:  # bound and not listening: nobody else can take the port
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        end = desk.run(f"http://{address}")
    assert end.error is not None
    assert (end.kind, end.error.code) == ("failed", "API_UNREACHABLE")
    assert address in end.error.message
    assert len(desk.retries()) == 2
    assert end.usage.requests == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 422])
def test_a_refusal_ends_at_once_with_the_apis_own_words_and_a_cure(desk, status):
    with MessagesDouble([Status(status, message="because I say so", type="invalid_request_error")] * 3) as api:
        end = desk.run(api.base_url)
    assert (end.kind, len(api.journal)) == ("failed", 1)
    assert end.error is not None
    assert (end.error.type, end.error.code) == (ErrorType.API_ERROR, f"API_{status}")
    assert end.error.failure_class is FailureClass.PERMANENT
    assert str(status) in end.error.message
    assert "because I say so" in end.error.message
    assert "req_1" in end.error.message
    assert end.error.suggested_action in end.error.message
    assert desk.retries() == []


def test_what_to_do_about_a_bad_key_or_model_is_said(desk):
    with MessagesDouble([Status(401), Status(404)]) as api:
        assert "ANTHROPIC_API_KEY" in desk.run(api.base_url).error.suggested_action
        assert "model" in desk.run(api.base_url).error.suggested_action


def test_an_invalid_request_inside_a_stream_is_not_tried_again(desk):
    with MessagesDouble([says("half", broken="error", error="invalid_request_error"), says("Done.")]) as api:
        end = desk.run(api.base_url)
    assert (end.kind, len(api.journal)) == ("failed", 1)


def test_a_key_that_the_api_echoes_is_not_repeated(desk):
    with MessagesDouble([Status(401, message="invalid key sk-ant-made-up-0123456789")]) as api:
        end = desk.run(api.base_url)  # which checks that the key is nowhere
    assert end.error is not None
    assert "[key]" in end.error.message


@pytest.mark.parametrize("status", [402, 429, 529])
@pytest.mark.parametrize("in_words", ["seconds", "date", "nothing"])
def test_a_short_limit_is_waited_out_in_place(desk, status, in_words):
    after = {"seconds": {"retry-after": "0.05"}, "date": {"retry-after": formatdate(time.time(), usegmt=True)}}
    with MessagesDouble([Status(status, headers=after.get(in_words, {})), says("Done.")]) as api:
        end = desk.run(api.base_url)
    assert (end.kind, len(api.journal)) == ("done", 2)
    [waiting] = desk.events("waiting")
    assert waiting["seconds"] == pytest.approx({"seconds": 0.05, "date": 0.0, "nothing": 0.01}[in_words], abs=0.001)


@pytest.mark.parametrize("status", [402, 429, 529])
def test_a_long_limit_is_handed_back(desk, status):
    with MessagesDouble([Status(status, headers={"retry-after": "3600"}, message="come back later")]) as api:
        end = desk.run(api.base_url)
    assert (end.kind, len(api.journal)) == ("quota", 1)
    assert end.quota is not None
    assert (end.quota.status, end.quota.retry_after_seconds) == (status, 3600)
    assert "come back later" in end.quota.message


def test_a_limit_that_does_not_end_is_handed_back_after_a_few_tries(desk):
    with MessagesDouble([Status(529)] * 9) as api:
        end = desk.run(api.base_url, api={"quota_tries": 4, "quota_pause_seconds": 77.0})
    assert (end.kind, len(api.journal)) == ("quota", 4)
    assert end.quota is not None
    assert end.quota.retry_after_seconds == 77
    assert [event["seconds"] for event in desk.events("waiting")] == [0.01, 0.02, 0.04]


def test_an_overload_inside_streams_that_does_not_end_is_a_limit_too(desk):
    with MessagesDouble([says("half an answer", broken="error")] * 5) as api:
        end = desk.run(api.base_url)
    assert (end.kind, len(api.journal)) == ("quota", 3)
    assert end.quota is not None
    assert end.quota.status == 529


def test_a_stop_ends_the_wait_for_a_limit(desk):
    with MessagesDouble([Status(429, headers={"retry-after": "50"})]) as api:
        waited = threading.Thread(target=lambda: (wait_until(desk.retries), desk.stop.set()))
        waited.start()
        assert desk.run(api.base_url).kind == "stopped"
        waited.join()


def test_limits_and_broken_streams_are_counted_apart(desk):
    limit, broken = Status(429, headers={"retry-after": "0"}), says("half an answer", broken="cut")
    with MessagesDouble([limit, broken, limit, broken, limit, says("Done.")]) as api:
        assert desk.run(api.base_url).kind == "done"
    assert [line.split()[1] for line in desk.retries()] == ["1/4", "1/3", "2/4", "2/3", "3/4"]

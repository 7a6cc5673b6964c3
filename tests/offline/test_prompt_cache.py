"""Cache fields follow from the prefixes that were really seen; the classes always add up to the whole input."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.offline.asking import TOOLS, carried_on, request, streamed, user, whole_input
from tests.offline.conftest import Open

from haikud.costs.tokens import estimate_tokens
from haikud.offline.prompt_cache import LOOK_BACK_BLOCKS, PromptCache
from haikud.offline.tokens import count_tokens

LONG = "All work and no play makes a prompt long. " * 80
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def block(text: str, mark: dict[str, str] | None = None) -> dict[str, Any]:
    return {"type": "text", "text": text, **({"cache_control": mark} if mark else {})}


def test_a_dialogue_reads_what_it_wrote_the_turn_before(serve: Open):
    call = {"name": "bash", "input": {"command": "true"}}
    _, client = serve({"tools": [call]}, {"tools": [call]}, {"text": "Done."})
    body = request(user(LONG), system=[block(LONG, MARK)], tools=TOOLS, cache_control=MARK)
    usages, following = [], body
    for _ in range(3):
        message = streamed(client, following)
        usages.append(message.usage)
        following = carried_on(following, message, result="line\n" * 200)
    first, second, third = usages
    assert first.cache_read_input_tokens == 0
    assert first.cache_creation_input_tokens == whole_input(first) > 1000
    assert second.cache_read_input_tokens == whole_input(first)
    assert third.cache_read_input_tokens == whole_input(second)
    assert third.cache_creation.ephemeral_5m_input_tokens == third.cache_creation_input_tokens > 200
    assert [usage.input_tokens for usage in usages] == [0, 0, 0]


def test_what_stands_after_the_last_breakpoint_is_fresh(serve: Open):
    _, client = serve({"text": "Hi."})
    for number in range(2):
        body = request(user(f"Question {number}"), system=[block(LONG, MARK)])
        usage = client.messages.create(**body).usage
        assert usage.input_tokens == whole_input(usage) - estimate_tokens(f'{{"text":"{LONG}","type":"text"}}') > 0
    assert usage.cache_read_input_tokens > 800
    assert usage.cache_creation_input_tokens == 0


def test_without_a_breakpoint_or_under_512_tokens_nothing_is_cached():
    cache = PromptCache()
    for body in (request(user(LONG)), request(user("short"), cache_control=MARK)):
        for _ in range(2):
            used = cache.use(body)
            assert (used.read, used.written_5m, used.written_1h) == (0, 0, 0)
            assert used.fresh == count_tokens(body)


def test_a_changed_system_prompt_or_another_model_misses():
    cache = PromptCache()
    body = request(user("x"), system=[block(LONG, MARK)])
    cache.use(body)
    assert cache.use(body).read > 0
    assert cache.use({**body, "system": [block(LONG + ".", MARK)]}).read == 0
    assert cache.use({**body, "model": "claude-sonnet-5-5"}).read == 0


def test_another_tool_choice_keeps_the_system_prompt_and_loses_the_messages():
    cache = PromptCache()
    body = request(user(LONG), system=[block(LONG, MARK)], cache_control=MARK)
    whole = count_tokens(body)
    cache.use(body)
    used = cache.use({**body, "tool_choice": {"type": "any"}})
    assert 0 < used.read < whole
    assert used.read + used.written_5m == whole


def test_the_two_lifetimes_are_told_apart_and_kept():
    now = 0.0
    cache = PromptCache(clock=lambda: now)
    body = request(user(LONG), system=[block(LONG, HOUR)], cache_control=MARK)
    used = cache.use(body)
    assert used.written_1h > 512
    assert used.written_5m > 512
    assert used.fresh == 0
    now = 200.0
    assert cache.use(body).read == count_tokens(body)
    now = 450.0  # 250 s after the last use
    assert cache.use(body).read == count_tokens(body)
    now = 1000.0
    late = cache.use(body)
    assert (late.read, late.written_1h) == (used.written_1h, 0)
    assert late.written_5m == used.written_5m


def test_a_lookup_goes_back_20_blocks_and_no_further():
    near, far = PromptCache(), PromptCache()
    start = request({"role": "user", "content": [block(LONG)]}, cache_control=MARK)
    for cache, more in ((near, LOOK_BACK_BLOCKS), (far, LOOK_BACK_BLOCKS + 1)):
        cache.use(start)
        content = [block(LONG), *(block(f"part {n}") for n in range(more))]
        used = cache.use(request({"role": "user", "content": content}, cache_control=MARK))
        assert (used.read > 0) is (cache is near)


def test_a_string_and_a_single_text_block_are_the_same_prompt():
    cache = PromptCache()
    cache.use(request(user(LONG), cache_control=MARK))
    used = cache.use(request({"role": "user", "content": [block(LONG, MARK)]}))
    assert used.read == count_tokens(request(user(LONG)))


@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([None, "5m"])), min_size=1, max_size=8))
def test_the_classes_always_add_up(parts: list[tuple[int, str | None]]):
    cache = PromptCache()
    content: list[dict[str, Any]] = []
    for size, mark in parts:
        content.append(block("x" * (size + 1), MARK if mark else None))
        body = request({"role": "user", "content": list(content)})
        used = cache.use(body)
        assert used.fresh + used.read + used.written_5m + used.written_1h == count_tokens(body)
        assert min(used.fresh, used.read, used.written_5m, used.written_1h) >= 0

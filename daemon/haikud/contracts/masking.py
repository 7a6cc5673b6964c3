"""Secrets out of everything that haikud writes: known values and known shapes become `[masked: KIND]`.

A `Masker` knows exact values (the API's key, tokens, what the settings name), each as it is, as JSON and as a URL spell
it and in base64, and the shapes of secret_shapes.py. `MaskedStream` masks what comes in pieces: a secret that is cut in
two is held back until it is whole. Masking what is masked already changes nothing.

A process has one masker, `active_masker()`, from its boot on (`use_masker`): whoever writes asks for it, so that no
writer has to be handed one, or can be forgotten. Before that there are shapes alone.

Not found: a secret in a spelling of its own (split by escape sequences, reversed, compressed, in UTF-16, as hex), and
one that is shorter than LEAST_BYTES or a plain word. Standard library alone; no failure of its own.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, quote_plus

from haikud.contracts.secret_shapes import MOST_KEY_BYTES, Span, open_key_block, shaped

LEAST_BYTES = 8
"""Shorter values are not masked: they would be found in everything."""

MOST_VALUES = 200
"""Each is looked for in four spellings or more, one after the other."""

MOST_VALUE_BYTES = 65_536
MOST_SPELLINGS = 8 * MOST_VALUES

_PLAIN = re.compile(rb"[a-z_-]{1,15}|[0-9]{1,11}")
"""A word or a small number: not worth being a secret, and masking it would spoil our own files' words."""

_MARK = re.compile(r"\[masked: [^\[\]\n]{1,80}\]")

IDS = frozenset(
    {"id", "ref", "refs", "quota_refs", "plan_id", "task_id", "correlation_id", "escalation_id", "agent_id", "marker"}
    | {"role", "model", "branch", "worktree", "base_sha", "head_sha"}
)
_ID = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./-]{0,200}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
"""What names things in our files stays, and times do: a record without them could not be read again."""


def is_maskable(value: str) -> bool:
    """Whether a value is long and odd enough to be looked for."""
    data = value.strip().encode("utf-8", "surrogateescape")
    return LEAST_BYTES <= len(data) <= MOST_VALUE_BYTES and _PLAIN.fullmatch(data) is None


def has_mark(text: str) -> bool:
    """Whether a text holds one of our marks."""
    return "[masked: " in text and _MARK.search(text) is not None


class Masker:
    """`values`: secret -> what to call it. See the module's head."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        known: dict[bytes, str] = {}
        for value, kind in (values or {}).items():
            for line in dict.fromkeys([value.strip(), *value.split()]):  # a log breaks lines; so does YAML
                if is_maskable(line) and len(known) < MOST_SPELLINGS:
                    for spelling in _spellings(line.encode("utf-8", "surrogateescape")):
                        known.setdefault(spelling, kind)
        self._known = sorted(known.items(), key=lambda one: -len(one[0]))

    def spans(self, data: bytes) -> list[Span]:
        """The secrets in `data`, in order, without overlaps."""
        found = list(self._exact(data))
        found += shaped(data)
        if not found:
            return found
        found.sort(key=lambda span: (span.start, -span.end))
        merged = [found[0]]
        for span in found[1:]:
            last = merged[-1]
            if span.start < last.end:
                merged[-1] = Span(min(last.begin, span.begin), last.start, max(last.end, span.end), last.kind)
            else:
                merged.append(span)
        return merged

    def mask(self, data: bytes) -> bytes:
        """`data` with marks in place of secrets."""
        return render(data, self.spans(data))

    def text(self, text: str) -> str:
        """As `mask`, for text."""
        data = text.encode("utf-8", "surrogatepass")
        spans = self.spans(data)
        return render(data, spans).decode("utf-8", "surrogatepass") if spans else text

    def without(self, names: Iterable[str]) -> Masker:
        """The same, but for values that stand in names which everybody sees: paths, ids, branches.

        What names a file hides nothing, and words that lead to one must stay as they are.
        """
        seen = [name.encode("utf-8", "surrogateescape") for name in names]
        other = Masker()
        other._known = [one for one in self._known if not any(one[0] in name for name in seen)]
        return other

    def value(self, value: Any, spared: Iterable[str] = ()) -> Any:
        """A JSON value with all its texts masked, names of fields too, but for what stands under the names `spared`."""
        return self._value(value, frozenset(spared))

    def document(self, data: bytes, *, indent: int | None = None) -> bytes:
        """A JSON document of ours, masked: it stays one, and keeps the ids by which it is found."""
        if not self.spans(data):
            return data
        try:
            old = json.loads(data)
        except ValueError:
            return self.mask(data)
        new = self._value(old, frozenset(), ids=True)
        if new == old:
            return data
        separators = (",", ":") if indent is None else None
        try:
            text = json.dumps(new, ensure_ascii=False, indent=indent, separators=separators).encode()
        except UnicodeEncodeError:  # half a surrogate pair: JSON can say it, UTF-8 cannot
            text = json.dumps(new, indent=indent, separators=separators).encode()
        return text + (b"\n" if data.endswith(b"\n") else b"")

    def _value(self, value: Any, spared: frozenset[str], *, ids: bool = False) -> Any:
        if isinstance(value, str):
            return value if ids and _TIME.fullmatch(value) else self.text(value)
        if isinstance(value, list):
            return [self._value(each, spared, ids=ids) for each in value]
        if isinstance(value, dict):
            return {
                self.text(name): inner
                if name in spared or (ids and name in IDS and _is_name(inner))
                else self._value(inner, spared, ids=ids)
                for name, inner in value.items()
            }
        return value

    def _exact(self, data: bytes) -> Iterable[Span]:
        for spelling, kind in self._known:
            at = data.find(spelling)
            while at >= 0:
                yield Span(at, at, at + len(spelling), kind)
                at = data.find(spelling, at + len(spelling))


def _is_name(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_name(each) for each in value)
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def render(data: bytes, spans: Iterable[Span], end: int | None = None) -> bytes:
    """`data` up to `end`, with marks in place of the spans."""
    parts, at = [], 0
    end = len(data) if end is None else end
    for span in spans:
        if span.start >= end:
            break
        parts += [data[at : span.start], f"[masked: {span.kind}]".encode()]
        at = span.end
    if not parts:
        return data[:end]
    return b"".join([*parts, data[at:end]])


def _spellings(value: bytes) -> Iterable[bytes]:
    text = value.decode("utf-8", "surrogateescape")
    yield value
    yield quote(value, safe="").encode()
    yield quote(value).encode()
    yield quote_plus(value).encode()
    for ascii_only in (False, True):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogateescape")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):  # where in a group of three bytes it begins, with other words in front
            whole = encode(bytes(shift) + value)
            first = (0, 2, 3)[shift]
            last = (len(value) + shift) * 4 // 3
            core = whole[first:last].rstrip(b"=")
            if len(core) >= LEAST_BYTES:
                yield core


class MaskedStream:
    """Masks what comes in pieces, and hands it on to `sink`: whole lines at once, the rest when it is clear.

    Each `feed` calls the sink once, with b"" where all is held back: that something came is a sign of life. At most
    about MOST_KEY_BYTES are held. Of what is fed after a piece that long, a secret is found where it is shorter than
    OVERLAP.
    """

    MOST_HELD = 32_768
    OVERLAP = 8192

    def __init__(self, sink: Callable[[bytes], None], masker: Masker | None = None) -> None:
        self._sink = sink
        self._masker = masker or active_masker()
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """More of the stream."""
        self._held += data
        self._sink(self._ready(b"\n" in data))

    def flush(self) -> None:
        """The stream has ended."""
        held, self._held = bytes(self._held), bytearray()
        if held:
            self._sink(self._masker.mask(held))

    def _ready(self, has_line: bool) -> bytes:
        size = len(self._held)
        if not has_line and size < self.MOST_HELD:
            return b""
        held = bytes(self._held)
        cut = held.rfind(b"\n") + 1
        if size - cut >= self.MOST_HELD:
            cut = size - self.OVERLAP
        begins = open_key_block(held)
        if begins is not None and size - begins <= MOST_KEY_BYTES:
            cut = min(cut, begins)
        if cut <= 0:
            return b""
        spans = self._masker.spans(held)
        cut = _beside(spans, cut, size)
        del self._held[:cut]
        return render(held, spans, cut)


def _beside(spans: list[Span], cut: int, size: int) -> int:
    """The cut, moved out of a secret: before it where more of it may come, else behind it."""
    at = bisect_right([span.begin for span in spans], cut) - 1
    if at >= 0 and spans[at].begin < cut < spans[at].end:
        span = spans[at]
        return span.begin if span.end == size and size - span.begin <= MOST_KEY_BYTES else span.end
    return cut


@contextmanager
def masked_output(sink: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """A sink in front of that one, which masks a command's output; what is held back follows at the end."""
    stream = MaskedStream(sink)
    try:
        yield stream.feed
    except BaseException:
        with suppress(OSError):  # the sink's own trouble may be what ended it
            stream.flush()
        raise
    stream.flush()


_active = Masker()


def active_masker() -> Masker:
    """The process's own."""
    return _active


def use_masker(masker: Masker) -> None:
    """Let this process mask with it from now on: at its boot, and when settings are reread."""
    global _active  # noqa: PLW0603 -- a process has one set of secrets
    _active = masker

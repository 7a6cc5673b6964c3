"""Masking: known values in their spellings, shapes, streams cut anywhere, what must stay as it is, and hostile text."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import haikud
from haikud.contracts import secret_shapes
from haikud.contracts.masking import MaskedStream, Masker, has_mark, is_maskable

RUN = "a1B2c3D4e5F6g7H8i9J0"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{RUN * 3}\n{RUN}==\n-----END RSA PRIVATE KEY-----"

SHAPED = [
    ("Anthropic key", f"sk-ant-api03-{RUN}", "key={}"),
    ("OpenAI key", f"sk-proj-{RUN}", "{}"),
    ("OpenAI key", f"sk-{RUN * 2}", "'{}'"),
    ("GitHub token", f"ghp_{RUN}{RUN}"[:40], "token {},"),
    ("GitHub token", f"github_pat_{RUN}_{RUN}", "{}"),
    ("GitLab token", f"glpat-{RUN}", "{}"),
    ("AWS key id", "AKIAIOSFODNN7EXAMPLE", "id: {}"),
    ("AWS secret key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = {}"),
    ("Google key", f"AIza{(RUN * 2)[:35]}", "?key={}"),
    ("Slack token", f"xoxb-1234567890-{RUN}", "{}"),
    ("npm token", f"npm_{(RUN * 2)[:36]}", "{}"),
    ("PyPI token", f"pypi-AgEIcHlwaS5vcmc{RUN * 3}", "{}"),
    ("Stripe key", f"sk_live_{RUN}", "{}"),
    ("JSON web token", JWT, "cookie={};"),
    ("private key", PEM, "{}\nafter"),
    ("private key", json.dumps(PEM)[1:-1], '{{"key": "{}"}}'),
    ("authorization", "dXNlcjpwYXNz", "Authorization: Basic {}"),
    ("authorization", "abcdef123456", 'curl -H "authorization: token {}"'),
    ("bearer token", f"{RUN}", "got Bearer {} from it"),
    ("API key", "abcdef123456", "x-api-key: {}"),
    ("password", "s3cret", "https://joe:{}@example.org/x"),
    ("password", "p4ss:word", "postgres://u:{}@db/app"),
    ("password", "pw1234", "Server=db;User Id=me;Password={};"),
    ("password", "sesame1", "host=h dbname=x password={} port=1"),
    ("password", "sesame", "machine h login me password {}"),
    ("secret value", "correct-horse", "DB_PASSWORD={}"),
    ("secret value", "abcdef123456", 'x\nexport API_TOKEN="{}"\ny'),
    ("gateway token", f"haikud.plan.task-1.2.{hashlib.sha256(b'x').hexdigest()}", "{}"),
]

LEFT_ALONE = [
    hashlib.sha1(b"a commit", usedforsecurity=False).hexdigest(),
    f"sha256:{hashlib.sha256(b'a layer').hexdigest()}",
    str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)),
    base64.b64encode(Path(__file__).read_bytes()).decode(),
    "password = get_password(user)",
    "connect(password=settings.password, host=host)",
    "if token is None: raise BadToken(TOKEN)",
    "MAX_TOKENS=123456789",
    "GITHUB_TOKEN=${{ secrets.GITHUB_TOKEN }}",
    "TOKEN=$(cat /run/token)",
    "git@github.com:owner/name.git and https://example.org:8080/path",
    "the task-ant-farm-and-its-long-name-of-words, a risk-assessment-of-some-length",
    "KEY_FILE=/etc/haikud/the-key",
    "DB_PASSWORD=changeme-please\nAPI_KEY=your-api-key-here\nMAX_TOKEN=123456789",
    "Bearer of bad news, basic authorization: none",
]


@pytest.mark.parametrize(("kind", "secret", "around"), SHAPED)
def test_a_known_shape_is_masked_and_what_is_around_it_stays(kind: str, secret: str, around: str):
    assert Masker().text(around.format(secret)) == around.format(f"[masked: {kind}]")


@pytest.mark.parametrize("text", LEFT_ALONE, ids=range(len(LEFT_ALONE)))
def test_what_is_no_secret_stays(text: str):
    assert Masker().text(text) == text


def test_nothing_in_our_own_program_looks_like_a_secret():
    for path in Path(haikud.__file__).parent.rglob("*.py"):
        assert Masker().spans(path.read_bytes()) == [], path


def test_a_value_is_found_however_it_is_spelled():
    value = 'p "q"/é+ü w\\x'
    masker = Masker({value: "THE_ONE"})
    plain = value.encode()
    spelled = [value, quote(value), quote(value, safe=""), urlencode({"a": value}), json.dumps(value)]
    spelled += [json.dumps(value, ensure_ascii=False)]
    for text in spelled:
        assert "[masked: THE_ONE]" in masker.text(f"<{text}>"), text
    for before in (b"", b"a", b"ab", b"abc"):
        for after in (b"", b"z", b"zz"):
            coded = base64.b64encode(before + plain + after)
            assert b"[masked: THE_ONE]" in masker.mask(coded), (before, after)
    assert masker.text("p q w x") == "p q w x"


def test_each_line_of_a_long_value_counts_by_itself():
    masker = Masker({"first-line-1\nsecond-line-2": "CERT"})
    assert masker.text("x second-line-2 y") == "x [masked: CERT] y"


def test_short_and_plain_values_are_not_looked_for():
    assert not any(map(is_maskable, ["", "short1", "production", "12345678", "  short  "]))
    assert all(map(is_maskable, ["short123", "correct horse", "a-word-of-sixteen"]))
    assert Masker({"escalated": "X"}).text("escalated") == "escalated"


def test_masking_again_changes_nothing():
    masker = Masker({"hunter2hunter2": "PW"})
    for _, secret, around in SHAPED:
        once = masker.text(f"{around.format(secret)} hunter2hunter2")
        assert masker.text(once) == once
        assert has_mark(once)


def test_a_document_stays_one_and_keeps_the_ids_by_which_it_is_found():
    masker = Masker({"my-project-1": "APP_SECRET"})
    document = {
        "id": "my-project-1",
        "said": ["a my-project-1", 1.5, None],
        "my-project-1": True,
        "task_id": "a b my-project-1",
    }
    data = json.dumps(document, indent=2).encode() + b"\n"
    mark = "[masked: APP_SECRET]"
    wanted = {"id": "my-project-1", "said": [f"a {mark}", 1.5, None], mark: True, "task_id": f"a b {mark}"}
    assert json.loads(masker.document(data, indent=2)) == wanted
    assert masker.document(b'{"a": "b"}') == b'{"a": "b"}'


def test_times_and_names_in_a_document_stay_whoever_has_them_in_a_variable():
    values = {"2026-11-23": "CACHE_KEY", "ABC-1234": "ISSUE_KEY", "claude-haiku-5-5": "MODEL_KEY"}
    document = {
        "at": "2026-11-23T10:30:00.123Z",
        "branch": "feature/ABC-1234",
        "worktree": "/home/me/ABC-1234/worktrees/ABC-1234",
        "quota_refs": ["ABC-1234.one"],
        "model": "claude-haiku-5-5",
    }
    data = json.dumps(document).encode()
    masked = json.loads(Masker(values).document(data[:-1] + b', "said": "ABC-1234 on 2026-11-23"}'))
    assert masked == {**document, "said": "[masked: ISSUE_KEY] on [masked: CACHE_KEY]"}


def test_a_document_with_half_a_surrogate_pair_stays_utf_8():
    data = b'{"said": "\\ud83d hunter2hunter2"}\n'
    assert Masker({"hunter2hunter2": "PW"}).document(data) == b'{"said":"\\ud83d [masked: PW]"}\n'


def test_a_value_that_names_a_place_is_no_secret_and_others_are():
    masker = Masker({"ABC-1234": "ISSUE_KEY", "hunter2hunter2": "PW"}).without(["/spool/plans/ABC-1234/ABC-1234"])
    assert masker.text("ABC-1234 hunter2hunter2") == "ABC-1234 [masked: PW]"


MIXED = "\n".join(
    ["start", *(around.format(secret) for _, secret, around in SHAPED), "value hunter2hunter2 end", PEM, "last"]
).encode()
KNOWN = {"hunter2hunter2": "PW"}


def streamed(pieces: list[bytes], masker: Masker) -> bytes:
    out: list[bytes] = []
    stream = MaskedStream(out.append, masker)
    for piece in pieces:
        stream.feed(piece)
    assert len(out) == len(pieces), "each piece is a sign of life"
    stream.flush()
    return b"".join(out)


def test_a_stream_cut_anywhere_comes_out_as_if_it_were_whole():
    masker = Masker(KNOWN)
    whole = masker.mask(MIXED)
    for at in range(0, len(MIXED), 3):
        assert streamed([MIXED[:at], MIXED[at:]], masker) == whole, at
    assert streamed([bytes([byte]) for byte in MIXED], masker) == whole


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=40))
def test_a_stream_in_any_pieces_comes_out_as_if_it_were_whole(sizes: list[int]):
    masker, pieces, at = Masker(KNOWN), [], 0
    for size in sizes:
        pieces.append(MIXED[at : at + size])
        at += size
    assert streamed([*pieces, MIXED[at:]], masker) == masker.mask(MIXED)


def test_a_line_without_an_end_is_masked_as_it_goes_and_bounded():
    masker, most = Masker(KNOWN), 0
    out: list[bytes] = []
    stream = MaskedStream(out.append, masker)
    piece = b"\xff\x00" * 2000 + b" hunter2hunter2 " + b"." * 1111
    for _ in range(60):
        for part in (piece[:3000], piece[3000:4005], piece[4005:]):
            stream.feed(part)
            most = max(most, len(stream._held))
    stream.flush()
    assert b"".join(out) == masker.mask(piece * 60)
    assert b"hunter2" not in b"".join(out)
    assert most <= 2 * MaskedStream.MOST_HELD


def test_a_key_block_that_never_ends_is_not_held_for_ever():
    out: list[bytes] = []
    stream = MaskedStream(out.append, Masker())
    stream.feed(b"-----BEGIN PRIVATE KEY-----\n")
    for _ in range(3000):
        stream.feed(b"an ordinary line of words, and no key\n")
    assert len(b"".join(out)) > 30_000


HOSTILE = [
    *(anchor for shape in secret_shapes.SHAPES for anchor in shape.anchors),
    *(b"eyJeyJeyJe.eyJ", b"eyJ", b"://a:", b"TOKEN=a", b"password=aaaa ", b"haikud.1.1.", b"login a password "),
    *(b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 300, b"Authorization: Bearer "),
    *(b"A", b"\\n", b" ", b"="),
]


def test_no_text_takes_more_time_than_its_length_calls_for():
    """A pattern that goes back over what it has seen takes minutes for some of these."""
    for unit in HOSTILE:
        text = (unit * (60_000 // len(unit) + 1))[:60_000]
        began = time.process_time()
        Masker().mask(text)
        assert time.process_time() - began < 3.0, unit

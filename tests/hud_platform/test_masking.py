"""No value of a secret is in what a build shows, in whatever pieces it was read."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud_platform.builds.build_progress import Lines
from hud_platform.builds.masking import MASK, Masker

_ALPHABET = st.characters(codec="utf-8", exclude_characters="*\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
secrets = st.text(_ALPHABET, min_size=8, max_size=40).map(str.strip).filter(lambda text: len(text) >= 8)
noise = st.text(st.characters(codec="utf-8", exclude_characters="*"), max_size=30)


@given(secret=secrets, before=noise, after=noise)
def test_a_secret_is_hidden_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert secret not in Masker([secret]).mask(before + secret + after)


@given(secret=secrets, before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_secret_is_hidden_inside_anything_encoded(secret: str, before: bytes, after: bytes) -> None:
    shown = base64.b64encode(before + secret.encode() + after).decode()
    core = shown[len(before) * 4 // 3 + 2 : -(len(after) * 4 // 3 + 4)]
    assert core not in Masker([secret]).mask(shown)


@given(secret=secrets)
def test_a_secret_is_hidden_in_an_address(secret: str) -> None:
    address = f"https://user:{quote(secret, safe='')}@host/"
    assert Masker([secret]).mask(address) == f"https://user:{MASK}@host/"


@given(secret=secrets, text=st.lists(st.one_of(noise, st.just("")), max_size=4), data=st.data())
def test_a_secret_that_is_read_in_pieces_is_hidden(secret: str, text: list[str], data: st.DataObject) -> None:
    printed = secret.join([*text, "", "end\n"]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(printed)), max_size=8)))
    lines = Lines(Masker([secret]), longest_line_bytes=data.draw(st.integers(1, 64)))
    shown: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(printed)], strict=True):
        shown += lines.feed(printed[start:end])
    shown += lines.end()
    assert secret not in "".join(shown)


def test_each_line_of_a_long_secret_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"
    shown = Masker([key]).mask("key:\nMIIEvQIBADANBg\n  kqhkiG9w0BAQEF")
    assert shown == f"key:\n{MASK}\n  {MASK}"


def test_base64_of_a_long_secret_is_hidden_in_the_lines_it_is_broken_into() -> None:
    secret = "\n".join(f"line {number} of a long and secret text" for number in range(9))
    shown = Masker([secret]).mask(base64.encodebytes(secret.encode()).decode())
    assert set(shown.split()) == {MASK}


@pytest.mark.parametrize("value", ["7", "yes", "", "\n\n", "   "])
def test_a_value_that_is_no_secret_by_its_length_is_left(value: str) -> None:
    text = f"a {value} b"
    assert Masker([value], [value, "false"]).mask(text + " false") == text + " false"


def test_many_secrets_cost_little() -> None:
    masker = Masker([f"secret-{number}-{number * 7919}" for number in range(50)])
    text = "a line of an ordinary build log, with nothing to hide in it\n" * 20_000
    begun = time.process_time()
    assert masker.mask(text) == text
    print(f"{len(text) / (time.process_time() - begun) / 1e6:.0f} MB/s")

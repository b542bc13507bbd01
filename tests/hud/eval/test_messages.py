"""A prompt in every form a template may yield, as the conversation that agents read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hud.eval.messages import Message, messages_of, text_of


def text(content: str, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": {"type": "text", "text": content}}


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        (None, []),
        ("hi", [text("hi")]),
        (3, [text("3")]),
        (
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            [text("a"), text("b", "assistant")],
        ),
        ([{"role": "system", "content": "rules"}], [text("rules")]),
        (["bare"], [text("bare")]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image", "data": "…"}]}],
            [text("see"), {"role": "user", "content": {"type": "image", "data": "…"}}],
        ),
    ],
)
def test_a_prompt_becomes_messages(prompt: Any, messages: list[dict[str, Any]]) -> None:
    assert messages_of(prompt) == messages


def test_the_keys_of_a_message_are_attributes_too() -> None:
    (message,) = messages_of("hi")
    assert (message.role, message.content.text) == ("user", "hi")
    assert json.loads(json.dumps(message)) == text("hi")
    with pytest.raises(AttributeError, match="this text has no 'data'"):
        _ = message.content.data


def test_the_text_of_messages_leaves_out_what_is_no_text() -> None:
    blocks = [{"type": "text", "text": "one"}, {"type": "image", "data": "…"}, {"type": "text", "text": "two"}]
    assert text_of(messages_of([{"role": "user", "content": blocks}])) == "one\n\ntwo"
    assert text_of([Message(role="user", content=Message(type="image"))]) == ""

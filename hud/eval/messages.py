"""A prompt as a conversation: whatever form a template yielded, as messages of `user` and `assistant`."""

from __future__ import annotations

from typing import Any

__all__ = ["Message", "messages_of", "text_of"]


class Message(dict[str, Any]):
    """A message (`role`, `content`) or its content (`type`, `text`, …): a JSON object whose keys are attributes, too.

    So `message["content"]["text"]` and `message.content.text`, as agents written for MCP's types have it, are one.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"this {self.get('type', 'message')} has no {name!r}") from None


def messages_of(prompt: Any) -> list[Message]:
    """Give a prompt's turns: one message a content block, text as a text block, other roles as `user`."""
    turns = prompt if isinstance(prompt, list) else [] if prompt is None else [prompt]
    messages: list[Message] = []
    for turn in turns:
        is_message = isinstance(turn, dict) and "content" in turn
        role = "assistant" if is_message and turn.get("role") == "assistant" else "user"
        content = turn["content"] if is_message else turn
        blocks = content if is_message and isinstance(content, list) else [content]
        messages.extend(Message(role=role, content=_block(block)) for block in blocks)
    return messages


def text_of(messages: list[Message]) -> str:
    """Give the text of messages, its parts joined by blank lines."""
    texts = [message.content.get("text") for message in messages]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _block(content: Any) -> Message:
    if isinstance(content, dict):
        return Message(content)
    return Message(type="text", text=content if isinstance(content, str) else str(content))

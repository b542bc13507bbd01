"""What a template yields, in the form in which it travels (protocol specification, sections 5.1 and 5.3)."""

from __future__ import annotations

from hud.wire import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["InvalidYield", "evaluation_frame", "prompt_frame"]

_INFINITY = float("inf")
_ACCEPTED = "yield a number, an object with a numeric .reward, or a dict containing a numeric 'score'"


class InvalidYield(ValueError):
    """A template yielded something that is no prompt or no evaluation; the text goes to the client."""


def prompt_frame(value: Any, task_id: str) -> str:
    """Write the result of `tasks.start` as JSON text: a mapping with `prompt` as it is, anything else wrapped.

    Raises:
        InvalidYield: `bindings` is not a mapping of capability names to mappings, or the prompt has no JSON form.
    """
    if type(value) is str:
        return f'{{"prompt":{encode(value)}}}'
    frame = value if _is_mapping(value) and "prompt" in value else {"prompt": value}
    bindings = frame.get("bindings")
    if bindings is not None and not (_is_mapping(bindings) and all(_is_mapping(v) for v in bindings.values())):
        raise InvalidYield(f"task '{task_id}' yielded bindings that do not map capability names to objects")
    try:
        return encode(frame)
    except (TypeError, ValueError) as error:
        raise InvalidYield(str(error)) from error


def evaluation_frame(value: Any, task_id: str) -> str:
    """Write the result of `tasks.grade` as JSON text; its `score` is always a finite number (CC-27, CC-28).

    Raises:
        InvalidYield: there is no finite numeric score in it, or it has no JSON form.
    """
    kind = type(value)
    if kind is float or kind is int or kind is bool:
        return f'{{"score":{_finite(value, task_id)!r}}}'
    if hasattr(value, "to_frame"):
        frame = value.to_frame()
        return _encode({**frame, "score": _finite(frame["score"], task_id)})
    if _is_mapping(value):
        score = value.get("score")
        number = _number(score)
        if number is None:
            keys = [str(key) for key in value]
            raise InvalidYield(f"task '{task_id}' graded with a dict missing a numeric 'score' (keys: {keys})")
        _finite(number, task_id)
        return _encode({**value, "score": number if type(score) is bool or not isinstance(score, int) else score})
    number = _number(getattr(value, "reward", None))
    if number is None:
        number = _number(value)
    if number is None:
        raise InvalidYield(f"task graded with {kind.__name__}: {_ACCEPTED}")
    return f'{{"score":{_finite(number, task_id)!r}}}'


def _number(value: Any) -> float | None:
    """Give what counts as a number as a float: Python's own, decimals, and scalars of array libraries."""
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except OverflowError:
        return _INFINITY if value > 0 else -_INFINITY
    except (TypeError, ValueError):  # an array of several numbers
        return None


def _finite(score: Any, task_id: str) -> float:
    try:
        number = float(score)
    except OverflowError:  # an int beyond the largest float
        number = _INFINITY if score > 0 else -_INFINITY
    if number != number or number in (_INFINITY, -_INFINITY):
        raise InvalidYield(f"task '{task_id}' graded with a non-finite score ({number}): yield a finite number")
    return number


def _encode(frame: dict[str, Any]) -> str:
    try:
        return encode(frame)
    except (TypeError, ValueError) as error:
        raise InvalidYield(str(error)) from error


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) or (hasattr(value, "keys") and hasattr(value, "__getitem__"))

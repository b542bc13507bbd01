"""What a platform's refusal says, as one of this project's errors; no error shows a key or a signature.

Source: platform API specification, section 2.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from hud.errors import HudError, NotAuthorisedError, NotFoundError, PlatformError
from hud.retry import RETRIED_STATUSES, retry_after_s
from hud.settings import origin

__all__ = ["lowered", "readable", "refusal", "without_query"]

_LONGEST_TEXT = 4000


def refusal(
    *, status: int, headers: Mapping[str, str], body: bytes, call: str, secret: str | None, limit_s: float
) -> HudError:
    """Give the error that a reply stands for.

    Args:
        call: The method and the address without its query.
        secret: The key that was sent, which the message leaves out; None for a call without one.
        limit_s: How long the call might have waited.
    """
    said, hint = _explanation(body)
    if said is not None and secret:
        said = said.replace(secret, "…")
    address = call.partition(" ")[2]
    if status in (401, 403, 404) and secret is not None:
        return _of_key(status, said, hint, call=call, address=address)
    if 300 <= status < 400:
        target = readable(without_query(headers.get("location", "nowhere")))
        said = f"{call} is redirected to {target}, and redirects are not followed"
        hint = "set HUD_API_URL to the platform's own address"
    elif status == 402:
        hint = hint or "add credits to the team's account"
    elif status in RETRIED_STATUSES:
        hint = hint or _patience(headers, limit_s)
    elif secret is None:  # storage with a signed address
        hint = hint or "run the command again: the address may have expired"
    elif status >= 500:
        hint = hint or "run the command again; the platform's log has the reason"
    return PlatformError(said or f"{call} answered {status}", status=status, hint=hint)


def without_query(url: str) -> str:
    """Give an address without what may be secret in it: its query, its fragment and its credentials."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"^([A-Za-z]+://)[^/@]*@", r"\1", bare)


def readable(text: str) -> str:
    """Give a platform's text as it may be shown: without control characters, and not without end."""
    text = "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"


def lowered(text: str) -> str:
    """Give a sentence as a part of another: without its full stop and its first capital, but for an acronym's."""
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _of_key(status: int, said: str | None, hint: str | None, *, call: str, address: str) -> HudError:
    if status == 404:
        return NotFoundError(said or f"there is nothing at {address}", hint=hint or "check the id, and HUD_API_URL")
    if status == 401:
        message = said or f"{origin(address)} does not accept the API key"
        return NotAuthorisedError(message, hint=hint or "hud login, or hud set HUD_API_KEY=…")
    message = said or f"the API key may not {call}"
    return NotAuthorisedError(message, hint=hint or "use a key that may: hud set HUD_API_KEY=…")


def _patience(headers: Mapping[str, str], limit_s: float) -> str:
    asked_s = retry_after_s(headers)
    if asked_s is not None and asked_s > limit_s:
        return f"it asks to wait {math.ceil(asked_s)} s: export HUD_RETRY_LIMIT_S={math.ceil(asked_s)}"
    return "run the command again later"


def _explanation(body: bytes) -> tuple[str | None, str | None]:
    """Give what an error's body says, and what it advises."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(document, dict):
        return None, None
    hint = document.get("hint")
    return _detail(document.get("detail")), readable(hint) if isinstance(hint, str) and hint else None


def _detail(detail: object) -> str | None:
    if not detail:
        return None
    if isinstance(detail, str):
        return readable(lowered(detail)) or None
    if isinstance(detail, list):
        return readable("; ".join(_problem(item) for item in detail))
    if isinstance(detail, dict) and isinstance(detail.get("message"), str):
        return readable(lowered(detail["message"]))
    return readable(json.dumps(detail, ensure_ascii=False))


def _problem(item: object) -> str:
    """Give one entry of a validation error as `body.name: field required`."""
    if not isinstance(item, dict) or not isinstance(item.get("msg"), str):
        return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    place = item.get("loc")
    names = ".".join(str(part) for part in place) if isinstance(place, list) else ""
    return f"{names}: {lowered(item['msg'])}" if names else lowered(item["msg"])

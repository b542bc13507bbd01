"""Hide secret values in what is printed: the values themselves and the forms in which tools print them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "SHORTEST_SECRET", "SHORTEST_VARIABLE", "Masker"]

MASK = "***"

SHORTEST_SECRET = 4
"""Shorter build secrets are left alone: hiding every `7` tells more than it hides."""

SHORTEST_VARIABLE = 6
"""The same for environment variables, many of which are ordinary words."""

_BASE64_LINES = (76, 64)  # where `base64` and `openssl base64` break their lines
_SHORTEST_FORM = 4


class Masker:
    """Replaces every occurrence of some values by `***`.

    Hidden as well: base64 of a value, also in the middle of something else that was encoded, URL-encoded and
    JSON-escaped forms. Of a value of several lines each line is hidden, because logs are read line by line.

    Args:
        secrets: Values of at least `SHORTEST_SECRET` characters.
        variables: Values of at least `SHORTEST_VARIABLE` characters.

    Attributes:
        longest: The length of the longest form that is hidden, 0 when nothing is.
    """

    def __init__(self, secrets: Iterable[str] = (), variables: Iterable[str] = ()) -> None:
        forms: set[str] = set()
        for values, shortest in ((secrets, SHORTEST_SECRET), (variables, SHORTEST_VARIABLE)):
            for value in values:
                forms |= _forms(value, shortest)
        # The longest first: an alternation takes the first that fits, not the longest.
        ordered = sorted(forms, key=len, reverse=True)
        self.longest = len(ordered[0]) if ordered else 0
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def mask(self, text: str) -> str:
        """Give a text without the values."""
        if self._pattern is None:
            return text
        replaced = 1
        while replaced:  # what is left of a mask and what comes after it may again spell a value
            text, replaced = self._pattern.subn(MASK, text)
        return text

    def safe_cut(self, text: str) -> int:
        """Give where a text, of which more is to come, can be cut without parting a value; 0 for nowhere yet."""
        cut = len(text) - self.longest
        if cut <= 0 or self._pattern is None:
            return max(cut, 0)
        for found in self._pattern.finditer(text, max(0, cut - self.longest)):
            if found.start() >= cut:
                break
            if found.end() > cut:
                return found.start()
        return cut


def _forms(value: str, shortest: int) -> set[str]:
    lines = [line.strip() for line in value.splitlines()]
    forms: set[str] = set()
    for part in {value.strip(), *lines}:
        if len(part) < shortest:
            continue
        if "\n" not in part and "\r" not in part:
            forms.add(part)
        forms |= {quote(part, safe=""), quote(part), quote_plus(part), json.dumps(part)[1:-1]}
        forms.add(json.dumps(part, ensure_ascii=False)[1:-1])
        forms |= _base64_forms(part.encode("utf-8", "surrogatepass"))
    return {form for line in forms for form in line.splitlines() if len(form) >= _SHORTEST_FORM}


def _base64_forms(value: bytes) -> set[str]:
    """Base64 works on groups of three bytes: a value inside a longer text shows in one of three ways."""
    forms: set[str] = set()
    for ahead in range(3):
        encoded = base64.b64encode(bytes(ahead) + value).decode()
        # The characters at both ends that also hold bits of the neighbours are not known.
        known = encoded[-(-ahead * 8 // 6) : (ahead + len(value)) * 8 // 6]
        forms |= {known, known.replace("+", "-").replace("/", "_")}
        if ahead == 0:
            forms |= {line for width in _BASE64_LINES for line in _wrapped(encoded, width)}
    return {form for form in forms if len(form) > _SHORTEST_FORM}


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return []
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    return [line for line in lines if len(line.rstrip("=")) > 2 * _SHORTEST_FORM]

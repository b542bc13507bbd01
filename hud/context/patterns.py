"""Docker's ignore patterns as regular expressions of Python.

No library at hand reads them as Docker does. `docker.utils.build` ignores case, knows no escapes, reads `[!a]` for
`[^a]`, and tries one parent of a path where Docker tries all (so `**/x` does not reach below `x` once there is a `!`);
`pathspec` speaks Git's dialect, in which a name without a slash matches at any depth and what lies in an ignored folder
cannot come back. So a pattern becomes here the expression that Docker itself makes of it (`moby/patternmatcher`), and
what the two languages of expressions read differently is refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from hud.errors import UsageError

__all__ = ["Pattern", "any_of", "compiled", "parse"]

# What Go takes for white space; Python's `strip` would also take U+001C to U+001F.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_LONGEST_LINE_BYTES = 64 * 1024 - 1  # Docker reads lines into a buffer of 64 KiB

_SPECIAL = frozenset("*?[]\\")
_ANY = r"[\s\S]*"  # across lines as well: Docker compares text there, and uses no expression


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One pattern of an ignore file.

    Attributes:
        text: The pattern in its clean form, without `!`.
        negated: Whether it began with `!`: what it matches comes back.
        expression: Matches exactly the paths that it names, as a whole.
        segments: The expression of each part between slashes, when it speaks of paths of that depth alone.
        basename: The expression of the last part, when it is `**/` and that: any depth.
    """

    text: str
    negated: bool
    expression: str
    segments: tuple[str, ...] | None = None
    basename: str | None = None

    @cached_property
    def matches(self) -> Callable[[str], object]:
        """A test whether it names a path; the folders of that path are the caller's matter."""
        return re.compile(self.expression).fullmatch

    @property
    def literal(self) -> str | None:
        """The only path that it matches, if there is only one."""
        return None if _SPECIAL.intersection(self.text) else self.text

    @property
    def literal_basename(self) -> str | None:
        """The only last part of a path that it matches, if there is only one."""
        rest = self.text[3:]
        return None if self.basename is None or _SPECIAL.intersection(rest) else rest

    def may_match_below(self, folder: str) -> bool:
        """Whether it can match a path inside `folder`; it may say yes where there is none."""
        parts = folder.split("/")
        if self.segments is not None:
            heads = zip(self.segments, parts, strict=False)
            return len(self.segments) > len(parts) and all(re.fullmatch(head, part) for head, part in heads)
        for own, part in zip(self.text.split("/"), parts, strict=False):
            if _SPECIAL.intersection(own):
                return True
            if own != part:
                return False
        return True


def parse(content: bytes, *, name: str) -> list[Pattern]:
    """Read an ignore file as Docker does: comments begin in the first column, white space around a pattern goes.

    Args:
        name: How messages call the file.

    Raises:
        UsageError: a pattern with which `docker build` fails too, or one that Docker reads as nobody means it.
    """
    patterns: list[Pattern] = []
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST_LINE_BYTES:
            raise UsageError(f"{name}:{number} is longer than 64 KiB", hint="split the line")
        if line.startswith(b"#"):
            continue
        text = _stripped(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
        # Docker cleans twice: the lines of the file, where a leading slash goes, and the patterns, whatever is left.
        sign = "!" if text.startswith("!") else ""
        text = _stripped(sign + _clean(_stripped(text.removeprefix("!"))).removeprefix("/"))
        text = _clean(text)
        negated = text.startswith("!")
        text = text.removeprefix("!")
        if negated and not text:
            raise UsageError(f"{name}:{number} is a ! with nothing after it", hint="say what comes back: !keep.txt")
        if not text:
            continue
        try:
            patterns.append(compiled(text, negated=negated))
        except ValueError as error:
            raise UsageError(f"{name}:{number}: {line.decode('utf-8', 'replace').strip()!r} {error}") from error
    return patterns


def compiled(text: str, *, negated: bool = False) -> Pattern:
    """Compile a pattern that is clean already: relative, without `.`, `..` inside, and doubled slashes.

    Raises:
        ValueError: it is none; the message goes on after the pattern.
    """
    expression = _expression(text)
    segments: tuple[str, ...] | None = None
    basename: str | None = None
    # A class can match a slash ([^a] does), and an escape tells nothing about where a part ends: no short cuts there.
    if not re.search(r"[\[\]\\]", text):
        if "**" not in text:
            segments = tuple(map(_expression, text.split("/")))
        elif text.startswith("**/") and "/" not in text[3:] and "**" not in text[3:]:
            basename = _expression(text[3:])
    return Pattern(text=text, negated=negated, expression=expression, segments=segments, basename=basename)


def any_of(expressions: list[str]) -> Callable[[str], object] | None:
    """Give a test whether a text as a whole matches one of the expressions; None when there is none."""
    return re.compile("|".join(f"(?:{one})" for one in expressions)).fullmatch if expressions else None


def _stripped(text: str) -> str:
    return text.strip(_SPACE)


def _clean(text: str) -> str:
    """Give the shortest form of a path, as Go's `filepath.Clean` does, but nothing for nothing."""
    clean = posixpath.normpath(text) if text else ""
    return clean[1:] if clean.startswith("//") else clean


def _expression(text: str) -> str:
    """Give Docker's expression for a pattern.

    A pattern whose only wildcards are one leading or one trailing `**` is compared as text there, which differs:
    `**x` matches all paths that end with `x`, not only names.
    """
    if not _SPECIAL.intersection(text):
        return re.escape(text)
    if text.startswith("**") and not _SPECIAL.intersection(text[2:]):
        rest = text[2:]
        return f"(?:{_ANY}/)?{re.escape(rest[1:])}" if rest.startswith("/") else _ANY + re.escape(rest)
    if text.endswith("**") and not _SPECIAL.intersection(text[:-2]):
        return re.escape(text[:-2]) + _ANY
    parts: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if text.startswith("**", at):
            at += 2
            if text.startswith("/", at):
                at += 1
            parts.append(r"(?:.*/)?" if at < len(text) else ".*")
        elif character == "[":
            part, at = _class(text, at)
            parts.append(part)
        elif character == "\\":
            parts.append(_escaped(text, at))
            at += 2
        else:
            # Docker leaves ^ as it is: at the start it means nothing, elsewhere such a pattern matches nothing.
            parts.append({"*": "[^/]*", "?": "[^/]", "^": "^"}.get(character) or re.escape(character))
            at += 1
    return "".join(parts)


def _class(text: str, start: int) -> tuple[str, int]:
    """Translate the class that begins at `start`; give its expression and where it ends."""
    at = start + 1
    parts = ["["]
    if text.startswith("^", at):
        parts.append("^")
        at += 1
    first = True
    while first or not text.startswith("]", at):
        first = False
        low, at = _class_member(text, at)
        if text.startswith("-", at):
            high, at = _class_member(text, at + 1)
            if high < low:
                raise ValueError(f"has the range {low}-{high}, which is the wrong way round")
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            parts.append(re.escape(low))
    return "".join([*parts, "]"]), at + 1


def _class_member(text: str, at: int) -> tuple[str, int]:
    character = text[at : at + 1]
    if character == "\\":
        _escaped(text, at)
        return text[at + 1], at + 2
    if character in ("", "-", "]"):
        raise ValueError("has a [ whose ] is missing or that holds a lone -, with which docker build fails")
    if character in "*?" or text.startswith("[:", at):
        raise ValueError(f"has {character} inside [ ], where Docker does not take it for itself: write \\{character}")
    return character, at + 1


def _escaped(text: str, at: int) -> str:
    following = text[at + 1 : at + 2]
    if not following:
        raise ValueError("ends with a \\, with which docker build fails")
    if following.isalnum() or not following.isascii():
        raise ValueError(f"escapes {following!r}, which Docker does not take for the character: leave out the \\")
    return re.escape(following)

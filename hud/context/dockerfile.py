"""What a Dockerfile says, as far as it matters before a build: its instructions, in order."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hud.errors import HudError

__all__ = ["Instruction", "command_words", "read_instructions", "words_of"]

_HEREDOC = re.compile(r"(?<![\w<])\d?<<(-?)(['\"]?)([A-Za-z_][\w.]*)\2")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(.+?)\s*")
_FLAG = re.compile(r"--[a-z][a-z-]*(?:=\S*)?\s+")


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction.

    Attributes:
        line: The line it begins in, from 1.
        word: In capitals, such as `COPY`.
        value: What follows, continued lines joined; without flags and here-documents.
        flags: What stands before the value, such as `--from=build`.
        inline: Whether here-documents belong to it.
    """

    line: int
    word: str
    value: str
    flags: tuple[str, ...] = ()
    inline: bool = False


def read_instructions(path: Path) -> list[Instruction]:
    """Read the instructions of a Dockerfile; what is none becomes one with a strange word.

    Raises:
        HudError: it cannot be read, or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise HudError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HudError(f"{path} is not UTF-8", hint=f"iconv -t UTF-8 {path}") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    escape = _escape(lines)
    instructions: list[Instruction] = []
    at = 0
    while at < len(lines):
        first, joined = at, ""
        while at < len(lines):
            line = lines[at]
            at += 1
            content = line.rstrip()
            if content.lstrip().startswith("#") or (joined and not content):
                continue  # comments and empty lines also stand between continued lines
            if content.endswith(escape):
                joined += content[:-1]
                continue
            joined += content
            break
        if not joined.strip():
            continue
        instruction, ends = _instruction(first + 1, joined.strip())
        for end, indented in ends:
            rest = [line.lstrip("\t") if indented else line for line in lines[at:]]
            if end in rest:  # else it was a shift, as in $((1<<n))
                at += rest.index(end) + 1
        instructions.append(instruction)
    return instructions


def command_words(instructions: list[Instruction]) -> list[str]:
    """Give the words that a container of the image starts with: those of ENTRYPOINT, then those of CMD.

    Only the last stage counts, and in it the last of each. What a shell is given as one word comes as its words.
    """
    starts = [place for place, instruction in enumerate(instructions) if instruction.word == "FROM"]
    last = instructions[starts[-1] :] if starts else instructions
    words: list[str] = []
    for word in ("ENTRYPOINT", "CMD"):
        values = [instruction.value for instruction in last if instruction.word == word]
        if values:
            words += words_of(values[-1])
    return [part for word in words for part in (_shell_words(word) if " " in word else [word])]


def words_of(value: str) -> list[str]:
    """Give the words of an instruction, in the exec form (JSON) or the shell form."""
    if value.startswith("["):
        try:
            words = json.loads(value)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return _shell_words(value)


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return text.split()


def _escape(lines: list[str]) -> str:
    """Give the continuation character, which a directive at the top can set."""
    for line in lines:
        match = _DIRECTIVE.fullmatch(line)
        if match is None:
            break
        if match[1].lower() == "escape" and match[2] in ("\\", "`"):
            return match[2]
    return "\\"


def _instruction(line: int, text: str) -> tuple[Instruction, list[tuple[str, bool]]]:
    """Give an instruction and the ends of the here-documents that follow it."""
    word, *rest = text.split(None, 1)
    value = rest[0] if rest else ""
    flags: list[str] = []
    while (match := _FLAG.match(value)) is not None:
        flags.append(match[0].strip())
        value = value[match.end() :]
    word = word.upper()
    heredocs = list(_HEREDOC.finditer(value)) if word in ("RUN", "COPY", "ADD") else []
    ends = [(match[3], bool(match[1])) for match in heredocs]
    return (
        Instruction(line=line, word=word, value=value.strip(), flags=tuple(flags), inline=bool(heredocs)),
        ends,
    )

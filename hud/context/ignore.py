"""Which files of a folder belong to a build: exactly what Docker's ignore file leaves, less junk and credentials.

Three layers, in this order: junk that nobody builds from, which a `!` pattern brings back; the ignore file, which is
`<Dockerfile>.dockerignore` when there is one and else `.dockerignore`; what never travels (`hud.context.credentials`).
The recipe and the ignore files always travel: the other side reads them.

The meaning is that of Docker since 23.0 (`fsutil` over `moby/patternmatcher`): the last pattern that matches a path or
one of its folders decides, where a folder's match counts only if it changed what held for that folder. Engine 20.10
differs for `!` patterns that name the parent of what an earlier pattern left out, and cannot bring back below a folder
by a `!` pattern with wildcards.

Source: CLI specification, section 4.6; platform API specification, section 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hud.context.patterns import Pattern, any_of, compiled, parse
from hud.context.recipe import Recipe
from hud.errors import HudError

__all__ = ["IGNORE_FILE", "JUNK", "Rules", "ignore_file", "read_rules"]

IGNORE_FILE = ".dockerignore"

JUNK = (
    "**/__pycache__",
    "**/*.pyc",
    "**/*.pyo",
    "**/.venv",
    "**/venv",
    "**/node_modules",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/.DS_Store",
    "**/Thumbs.db",
)
"""The public service's list."""

UNDECIDED = -1
"""The state of the root: no pattern has matched."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The patterns of a folder, in their order.

    A *state* says which pattern decided last, by its place. What a path becomes depends on nothing but the path and the
    state of the folder it lies in, so a walk hands states down and asks once a path.
    """

    patterns: tuple[Pattern, ...]
    _tests: dict[int, Callable[[str, str, int], object] | None] = field(default_factory=dict, repr=False, compare=False)

    def left_out(self, state: int) -> bool:
        """Whether that state means that a path does not belong to the build."""
        return state >= 0 and not self.patterns[state].negated

    def decide(self, path: str, state: int) -> int:
        """Give the state of a path in a folder of a state."""
        out = self.left_out(state)
        for place in range(state + 1, len(self.patterns)):
            pattern = self.patterns[place]
            if pattern.negated == out and pattern.matches(path):
                out, state = not out, place
        return state

    def decide_from_root(self, path: str) -> int:
        """Give the state of a path, its folders asked first."""
        state, at = UNDECIDED, 0
        while at >= 0:
            at = path.find("/", at + 1)
            state = self.decide(path if at < 0 else path[:at], state)
        return state

    def test(self, state: int) -> Callable[[str, str, int], object] | None:
        """Give a quick test for paths of a folder of a state: whether `decide` can give another state.

        The test takes the path, its last part and the number of its parts. None: it never can.
        """
        if state not in self._tests:
            wanted = self.left_out(state)
            rest = [pattern for pattern in self.patterns[state + 1 :] if pattern.negated == wanted]
            self._tests[state] = _test(rest) if rest else None
        return self._tests[state]

    def may_bring_back_below(self, folder: str, state: int) -> bool:
        """Whether something inside a folder that is left out can belong to the build."""
        return any(pattern.negated and pattern.may_match_below(folder) for pattern in self.patterns[state + 1 :])


def ignore_file(folder: Path, recipe: Recipe) -> str | None:
    """Give the name of the ignore file that Docker reads for a recipe; its own comes before the general one."""
    for name in (f"{recipe.dockerfile}{IGNORE_FILE}", IGNORE_FILE):
        if (folder / name).is_file():
            return name
    return None


def read_rules(folder: Path, recipe: Recipe) -> Rules:
    """Read which files belong to a build.

    Raises:
        UsageError: the ignore file has a pattern that Docker cannot read either.
        HudError: the ignore file cannot be read.
    """
    name = ignore_file(folder, recipe)
    own: list[Pattern] = []
    if name is not None:
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise HudError(f"cannot read {name}: {error.strerror}") from error
        own = parse(content, name=name)
    return Rules(patterns=(*map(compiled, JUNK), *own))


def _test(patterns: list[Pattern]) -> Callable[[str, str, int], object]:
    """Sort patterns by what it takes to try them, so that most paths meet one expression and two look-ups."""
    names = frozenset(name for pattern in patterns if (name := pattern.literal_basename) is not None)
    paths = frozenset(path for pattern in patterns if (path := pattern.literal) is not None)
    rest = [pattern for pattern in patterns if pattern.literal is None and pattern.literal_basename is None]
    by_basename = any_of([pattern.basename for pattern in rest if pattern.basename is not None])
    by_depth: dict[int, Callable[[str], object]] = {}
    for depth in {len(pattern.segments) for pattern in rest if pattern.segments is not None}:
        same = [one.expression for one in rest if one.segments is not None and len(one.segments) == depth]
        test = any_of(same)
        assert test is not None
        by_depth[depth] = test
    general = any_of([one.expression for one in rest if one.basename is None and one.segments is None])

    def test_path(path: str, name: str, depth: int) -> object:
        return (
            name in names
            or path in paths
            or (by_basename is not None and by_basename(name))
            or (depth in by_depth and by_depth[depth](path))
            or (general is not None and general(path))
        )

    return test_path

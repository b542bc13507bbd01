"""The commands that an image has too, as plain data: `serve`, `task …` and their older spelling `client …`.

Two readers share these definitions: `hud_cli.parser` parses and explains them with nothing imported (an image has
Python and nothing else, and start-up time is a feature), and `hud_cli.tree` makes Typer commands of them for the help
of a workstation, the completions and the reference. Written out by hand: `dataclasses` would double what an
in-image command costs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Kind = Literal["text", "flag", "integer", "number"]
    Value = str | int | float | bool | list[str] | None

__all__ = ["GROUPS", "SERVED", "WORKSTATION", "Argument", "Command", "Option", "find", "resolve"]


class Option:
    """One option of a command.

    Attributes:
        flags: Every spelling, the long one last.
        name: The keyword under which the command receives it.
        kind: What its value is; a flag has none.
        default: The value when it is not given; for one that may be repeated, an empty list.
        metavar: How help shows the value, and what completions offer for it (`hud_cli.completion`).
        help: One line.
        repeatable: Given several times, it collects a list of texts.
    """

    __slots__ = ("default", "flags", "help", "kind", "metavar", "name", "repeatable")

    def __init__(
        self,
        *flags: str,
        help: str,
        kind: Kind = "text",
        default: str | int | float | None = None,
        metavar: str = "TEXT",
        repeatable: bool = False,
    ) -> None:
        self.flags = flags
        self.name = flags[-1][2:].replace("-", "_")
        self.kind = kind
        self.default: Value = [] if repeatable else False if kind == "flag" else default
        self.metavar = metavar
        self.help = help
        self.repeatable = repeatable


class Argument:
    """One positional argument; without a default it is required."""

    __slots__ = ("default", "help", "metavar", "name")

    def __init__(self, name: str, *, help: str, default: str | None = None) -> None:
        self.name = name
        self.metavar = name.upper()
        self.default = default
        self.help = help


class Command:
    """A command: its words, its help, its parameters, and where its function is.

    Attributes:
        path: The words after `hud`.
        run: `module:function`; called with one keyword a parameter, it gives the exit code.
        help: The first line is the summary; more may follow.
    """

    __slots__ = ("arguments", "help", "options", "path", "run")

    def __init__(
        self,
        path: tuple[str, ...],
        run: str,
        *,
        help: str,
        arguments: tuple[Argument, ...] = (),
        options: tuple[Option, ...] = (),
    ) -> None:
        self.path = path
        self.run = run
        self.help = help
        self.arguments = arguments
        self.options = options


_TASK = Argument("task", help="A slug, a template id, or (from a source) an index from 0.")
_JSON = Option("--json", kind="flag", help="Print one JSON document, errors included.")
_SOURCE = Option(
    "-s",
    "--source",
    metavar="SOURCE",
    help="Task rows: a .py file, a folder, a .json or .jsonl file. Without --url, served for this one command.",
)
_URL = Option("-u", "--url", metavar="URL", help="Attach to a served environment: tcp://host:port, host:port or host.")
_ARGS = Option("-a", "--args", metavar="JSON", help="The template's arguments, an object; replaces the row's.")
_OUT = Option("-o", "--out", metavar="FILE", help="Write the whole result to FILE, print nothing.")
_ANSWER = Option("--answer", metavar="TEXT", help="The answer to grade (default: empty).")
_ANSWER_FILE = Option("--answer-file", metavar="FILE", help="Read the answer from FILE, byte for byte; - is stdin.")
_TIMEOUT = Option(
    "--timeout",
    kind="number",
    metavar="SECONDS",
    help="How long to wait for the environment to answer (default: 10 implicitly, 60 for --url, 120 when it starts).",
)
_TOKEN = Option("--token", metavar="TEXT", help="The channel's shared token (default: $HUD_CHANNEL_TOKEN).")
_IMAGE = Option("--image", metavar="IMAGE", help="Use a fresh container of IMAGE (needs Docker).")
_CONTAINER = Option("--container", metavar="CONTAINER", help="Use the running CONTAINER (needs Docker).")
_RUN_ARG = Option(
    "--run-arg",
    metavar="FLAG",
    repeatable=True,
    help="One word for `docker run` with --image, such as --run-arg=--gpus --run-arg=all; repeatable.",
)
_PLACE = (_SOURCE, _URL, _ARGS)
_CHANNEL = (_TIMEOUT, _TOKEN, _JSON)

SERVED: tuple[Command, ...] = (
    Command(
        ("serve",),
        "hud_cli.serve:serve",
        help="Serve an environment on a control channel.\n\n"
        "Prints HUD_SERVE_PORT=<port> on stdout once it accepts; everything else goes to stderr. "
        "Ctrl-C stops it in order (exit 0), SIGTERM too (exit 143).",
        arguments=(
            Argument(
                "target",
                default="env",
                help="A file, a folder or a module, each with an optional :name of the environment or factory.",
            ),
        ),
        options=(
            Option(
                "-p",
                "--port",
                kind="integer",
                metavar="PORT",
                help="0 takes a free one (default: $HUD_SERVE_PORT, else 8765).",
            ),
            Option("--host", default="127.0.0.1", metavar="HOST", help="Address to bind; 0.0.0.0 in an image."),
            Option("--arg", metavar="KEY=VALUE", repeatable=True, help="Argument for a factory target; repeatable."),
            Option("--watch", kind="flag", help="Load the source again when a file changes, between sessions."),
            Option("--token", metavar="TEXT", help="Ask every client for this token (default: $HUD_CHANNEL_TOKEN)."),
            Option(
                "--parked-ttl",
                kind="number",
                default=86400.0,
                metavar="SECONDS",
                help="How long a started task waits for its grade.",
            ),
            Option("-v", "--verbose", kind="flag", help="Say more on stderr."),
            Option("--json", kind="flag", help="Print an error as JSON; the readiness line stays as it is."),
        ),
    ),
    Command(
        ("task", "list"),
        "hud_cli.task:list_tasks",
        help="List the tasks of a source: slug, template id, arguments.",
        options=(
            Option("-s", "--source", default=".", metavar="SOURCE", help=_SOURCE.help.partition(" Without")[0]),
            Option("-q", "--quiet", kind="flag", help="Print slugs alone."),
            _JSON,
        ),
    ),
    Command(
        ("task", "start"),
        "hud_cli.task:start",
        help="Start a task and print its prompt.\n\n"
        "Attaches to --url, to the environment served on port 8765, or starts the source at hand. The task stays "
        "parked for a later `hud task grade`, unless it was started from a source.",
        arguments=(_TASK,),
        options=(*_PLACE, _OUT, _IMAGE, _CONTAINER, _RUN_ARG, *_CHANNEL),
    ),
    Command(
        ("task", "grade"),
        "hud_cli.task:grade",
        help="Grade an answer and print the score.\n\n"
        "Grades the parked run of this task; when there is none, starts the task first.",
        arguments=(_TASK,),
        options=(*_PLACE, _ANSWER, _ANSWER_FILE, _OUT, _CONTAINER, *_CHANNEL),
    ),
    Command(
        ("task", "run"),
        "hud_cli.task:run",
        help="Start a task, grade an answer, and print the score: start and grade in one go.",
        arguments=(_TASK,),
        options=(*_PLACE, _ANSWER, _ANSWER_FILE, _OUT, _IMAGE, _CONTAINER, _RUN_ARG, *_CHANNEL),
    ),
    Command(("version",), "hud_cli.main:version", help="Print the version.", options=(_JSON,)),
    Command(
        ("client", "info"),
        "hud_cli.client:info",
        help="Show the identity, capabilities and tasks of a served environment.",
        options=(Option("-u", "--url", default="127.0.0.1:8765", metavar="URL", help=_URL.help), *_CHANNEL),
    ),
    Command(
        ("client", "run"),
        "hud_cli.client:run",
        help="The older spelling of `hud task run TASK --url URL`.",
        arguments=(Argument("task", help="A template id."),),
        options=(
            Option("-u", "--url", default="127.0.0.1:8765", metavar="URL", help=_URL.help),
            _ARGS,
            _ANSWER,
            _ANSWER_FILE,
            *_CHANNEL,
        ),
    ),
)

GROUPS = {
    "task": "List, start and grade tasks.",
    "client": "Older spellings of `hud task`.",
}

WORKSTATION = {
    "init": "Scaffold an environment that builds with plain docker build.",
    "deploy": "Build an environment on a platform and register it by its name.",
    "sync": "Send task rows to a platform: only what changed.",
    "env": "Environments on a platform and their versions.",
    "build": "Builds on a platform: list, follow, cancel.",
    "platform": "Run a platform on this machine.",
    "login": "Get an API key through a browser and keep it.",
    "set": "Keep settings such as HUD_API_KEY=… in ~/.hud/.env.",
    "project": "Projects of a platform.",
    "doctor": "Say what is there, what is missing, and what to do about it.",
    "cleanup": "List and remove what no living process owns.",
    "completion": "Print or install shell completions.",
}
"""What the Typer tree adds, by summary: an image without Typer names them when one is asked for."""


def find(path: tuple[str, ...]) -> Command | None:
    """Give the served command of these words, or None."""
    return next((command for command in SERVED if command.path == path), None)


def resolve(command: Command) -> Callable[..., int]:
    """Import the function of a command."""
    module_name, _, function = command.run.partition(":")
    __import__(module_name)
    import sys

    return getattr(sys.modules[module_name], function)  # type: ignore[no-any-return]

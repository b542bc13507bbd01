"""The completion script of zsh."""

from __future__ import annotations

from collections.abc import Sequence

from hud_cli.completion.model import CHOICES, Flag, Node

__all__ = ["script"]

_HEAD = r"""#compdef hud
# zsh completion for hud; made by `hud completion show zsh`.

_hud_quick() {
    if (( $+commands[timeout] )); then timeout 3 "$@"; else "$@"; fi 2>/dev/null </dev/null
}

_hud_tasks() {
    local -a tasks
    local container=${opt_args[--container]} source=${opt_args[--source]:-${opt_args[-s]}}
    if [[ -n $container ]]; then
        tasks=(${(f)"$(_hud_quick docker exec ${(Q)container} hud task list --quiet)"})
    else
        tasks=(${(f)"$(_hud_quick hud task list --quiet ${source:+--source=${(Q)~source}})"})
    fi
    (( $#tasks )) && compadd -a tasks
}

_hud_sources() { _files -g '*.(py|json|jsonl)' }

_hud_images() {
    local -a images
    images=(${(f)"$(_hud_quick docker image ls --filter dangling=false --format '{{.Repository}}:{{.Tag}}')"})
    (( $#images )) && compadd -a images
}

_hud_containers() {
    local -a names
    names=(${(f)"$(_hud_quick docker ps --format '{{.Names}}')"})
    (( $#names )) && compadd -a names
}
"""

_ACTIONS = {
    "FILE": "_files",
    "FOLDER": "_files -/",
    "SOURCE": "_hud_sources",
    "TARGET": "_hud_sources",
    "TASK": "_hud_tasks",
    "IMAGE": "_hud_images",
    "CONTAINER": "_hud_containers",
    **{word: f"({' '.join(values)})" for word, values in CHOICES.items()},
}


def script(nodes: Sequence[Node]) -> str:
    """Write the script for these commands."""
    functions = [_group(node) if node.commands else _command(node) for node in nodes]
    tail = 'if [ "$funcstack[1]" = "_hud" ]; then\n    _hud "$@"\nelse\n    compdef _hud hud\nfi\n'
    return "\n".join([_HEAD, *functions, tail])


def _group(node: Node) -> str:
    commands = [f"                {_quoted(_described(name, summary))}" for name, summary in node.commands]
    branches = [f"                {name}) {_function((*node.path, name))} ;;" for name, _ in node.commands]
    lines = [
        f"{_function(node.path)}() {{",
        "    local context state state_descr line curcontext=$curcontext",
        "    typeset -A opt_args",
        "    _arguments -C \\",
        *[f"        {specification} \\" for flag in node.flags for specification in _specifications(flag)],
        "        '1: :->command' '*:: :->rest'",
        "    case $state in",
        "        command)",
        "            local -a commands=(",
        *commands,
        "            )",
        "            _describe -t commands command commands",
        "            ;;",
        "        rest)",
        "            case $line[1] in",
        *branches,
        "            esac",
        "            ;;",
        "    esac",
        "}",
        "",
    ]
    return "\n".join(lines)


def _command(node: Node) -> str:
    specifications = [specification for flag in node.flags for specification in _specifications(flag)]
    specifications += [
        _quoted(f"{number}:{word.lower()}:{_ACTIONS.get(word, ' ')}") for number, word in enumerate(node.arguments, 1)
    ]
    lines = [f"{_function(node.path)}() {{", "    typeset -A opt_args", "    _arguments -s -S \\"]
    lines += [f"        {specification} \\" for specification in specifications]
    lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join([*lines, "}", ""])


def _specifications(flag: Flag) -> list[str]:
    """Give one specification a spelling, each excluding the others unless the option may be repeated."""
    names = " ".join(flag.names)
    before = "*" if flag.repeatable else f"({names})"
    value = "" if flag.value is None else f":{flag.value.lower()}:{_ACTIONS.get(flag.value, ' ')}"
    text = flag.help.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    specifications = []
    for name in flag.names:
        mark = "" if flag.value is None else "=" if name.startswith("--") else "+"
        specifications.append(_quoted(f"{before}{name}{mark}[{text}]{value}"))
    return specifications


def _function(path: tuple[str, ...]) -> str:
    return "_".join(["_hud", *path]) if path else "_hud"


def _described(name: str, summary: str) -> str:
    return f"{name}:{summary.replace(':', chr(92) + ':')}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"

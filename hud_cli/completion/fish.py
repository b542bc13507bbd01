"""The completion script of fish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hud_cli.completion.model import CHOICES, Flag, Node

__all__ = ["script"]

_HEAD = r"""# fish completion for hud; made by `hud completion show fish`.

# Whether the words so far name exactly this command (or, without arguments, none yet).
function __hud_at
    set -l words (commandline -opc)
    set -l path
    for word in $words[2..-1]
        if string match -q -- '-*' $word
            break
        end
        set -a path $word
        if not contains -- "$path" __GROUPS__
            break
        end
    end
    test "$path" = "$argv"
end

function __hud_quick
    if type -q timeout
        timeout 3 $argv 2>/dev/null </dev/null
    else
        $argv 2>/dev/null </dev/null
    end
end

# The value of an option that stands on the line, such as the source whose tasks are offered.
function __hud_given
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        for name in $argv
            if test "$words[$i]" = $name; and test $i -lt (count $words)
                echo $words[(math $i + 1)]
                return
            end
            if string match -q -- "$name=*" $words[$i]
                string replace -- "$name=" '' $words[$i]
                return
            end
        end
    end
end

function __hud_tasks
    set -l container (__hud_given --container)
    set -l source (__hud_given --source -s)
    if test -n "$container"
        __hud_quick docker exec $container hud task list --quiet
    else if test -n "$source"
        __hud_quick hud task list --quiet --source=$source
    else
        __hud_quick hud task list --quiet
    end
end

function __hud_sources
    set -l token (commandline -ct | string replace -r -- '^--?[a-z-]+=' '')
    __fish_complete_directories $token
    for file in $token*.py $token*.json $token*.jsonl
        echo $file
    end
end

function __hud_images
    __hud_quick docker image ls --filter dangling=false --format '{{.Repository}}:{{.Tag}}'
end

function __hud_containers
    __hud_quick docker ps --format '{{.Names}}'
end

complete -c hud -f
"""

_ACTIONS = {
    "FOLDER": "(__fish_complete_directories)",
    "SOURCE": "(__hud_sources)",
    "TARGET": "(__hud_sources)",
    "TASK": "(__hud_tasks)",
    "IMAGE": "(__hud_images)",
    "CONTAINER": "(__hud_containers)",
    **{word: " ".join(values) for word, values in CHOICES.items()},
}


def script(nodes: Sequence[Node]) -> str:
    """Write the script for these commands."""
    groups = " ".join(_quoted(" ".join(node.path)) for node in nodes if node.commands and node.path)
    return _HEAD.replace("__GROUPS__", groups) + "".join(line + "\n" for node in nodes for line in _lines(node))


def _lines(node: Node) -> Iterator[str]:
    condition = f"-n {_quoted(' '.join(['__hud_at', *node.path]))}"
    for name, summary in node.commands:
        yield f"complete -c hud {condition} -a {name} -d {_quoted(summary)}"
    for flag in node.flags:
        yield f"complete -c hud {condition} {_names(flag)}{_value(flag)} -d {_quoted(flag.help)}"
    for word in node.arguments:
        if word in _ACTIONS:
            yield f"complete -c hud {condition} -a {_quoted(_ACTIONS[word])}"


def _names(flag: Flag) -> str:
    return " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)


def _value(flag: Flag) -> str:
    if flag.value is None:
        return ""
    if flag.value == "FILE":
        return " -r -F"
    action = _ACTIONS.get(flag.value)
    return " -x" if action is None else f" -x -a {_quoted(action)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

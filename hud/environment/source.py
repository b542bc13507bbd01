"""Find what an author wrote: environments and task rows, in a file, a folder, a module or a JSON file.

Source: command-line and SDK specification, section 5. A file is imported under its own name with its folder on
`sys.path`, so that `tasks.py` and `env.py` share one module; loading again imports afresh.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar

from hud.errors import EnvironmentLoadError, HudError, NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType
    from typing import Any, TypeGuard

    from hud.environment.environment import Environment
    from hud.eval.task import Task

__all__ = [
    "Declared",
    "collect_tasks",
    "declared_in",
    "load_environment",
    "load_environments",
    "pick",
    "refuse_while_importing",
    "select_task",
    "source_files",
    "source_folder",
    "split_target",
]

_SKIPPED = {"conftest.py", "setup.py", "__init__.py", "__main__.py"}

_importing: ContextVar[bool] = ContextVar("importing", default=False)
"""Whether the code of this context is run because a source is being imported."""

_loaded: dict[str, str] = {}
"""Modules imported from sources, by name, with their file: forgotten before the next load of their folder."""


def split_target(target: str) -> tuple[str, str | None]:
    """Split `path_or_module[:name]`; a Windows drive letter is no separator."""
    head, separator, name = target.rpartition(":")
    if not separator or not head or os.sep in name or "/" in name or (len(head) == 1 and head.isalpha()):
        return target, None
    return head, name or None


def load_environment(
    target: str | os.PathLike[str], *, name: str | None = None, args: Mapping[str, str] | None = None
) -> Environment:
    """Import an author's source and give its environment.

    Args:
        target: A file, a folder (its `*.py` files are scanned), or an importable module; a bare `x` means `x.py`
            where that file exists.
        name: Which one, by variable or environment name; for a module the attribute, `env` by default, which may
            also be a factory.
        args: Keyword arguments for a factory.

    Raises:
        NotFoundError: there is no such source, or no environment (of that name) in it.
        UsageError: several environments and no name, or `args` for something that is not a factory.
        EnvironmentLoadError: the source fails while it is imported; the message has file and line.
    """
    text = os.fspath(target)
    if not os.path.exists(text) and os.path.isfile(text + ".py"):
        text += ".py"
    package = os.path.isdir(text) and "/" not in text and os.path.isfile(os.path.join(text, "__init__.py"))
    if os.path.exists(text) and not (package and (name or args)):
        if args:
            raise UsageError(
                f"arguments are for a factory, and {text} is a source path",
                hint=f"hud serve MODULE:{name or 'make_env'} --arg …",
            )
        return pick(_environments(text), name, text)
    if os.sep in text or "/" in text or text.endswith((".py", ".json", ".jsonl")):
        raise NotFoundError(f"no such file or folder: {text}")
    return _from_module(text, name or "env", dict(args or {}))


def load_environments(path: str | os.PathLike[str]) -> list[Environment]:
    """Import a file or folder and give all environments it declares.

    Raises:
        NotFoundError: there is no such source, or no environment in it.
        EnvironmentLoadError: the source fails while it is imported.
    """
    return [one.environment for one in declared_in(path)]


def declared_in(path: str | os.PathLike[str]) -> list[Declared]:
    """Import a file or folder and give its environments with their names; see `load_environments`."""
    text = os.fspath(path)
    if not os.path.exists(text):
        raise NotFoundError(f"no such file or folder: {text}")
    declared = _environments(text)
    if not declared:
        pick([], None, text)
    return declared


def source_files(path: str | os.PathLike[str]) -> list[str]:
    """Give the files under a source's folder that its last load imported: what to watch for changes."""
    folder = source_folder(path)
    return sorted({file for file in _loaded.values() if file.startswith(folder + os.sep)})


def collect_tasks(source: str | os.PathLike[str]) -> list[Task]:
    """Read the task rows of a `.py` file, a folder, a `.json` or a `.jsonl` file, in their order.

    Rows are the public module attributes that are a task, a taskset, or a list or tuple of tasks. A source that
    declares templates but no rows gives one row a template, without arguments.

    Raises:
        NotFoundError: there is no such source.
        UsageError: a row is malformed, two rows have one slug, or the file is of another kind.
        EnvironmentLoadError: the source fails while it is imported.
    """
    text = os.fspath(source)
    if not os.path.exists(text):
        if os.path.isfile(text + ".py"):
            text += ".py"
        else:
            raise NotFoundError(f"no such file or folder: {text}")
    if text.endswith((".json", ".jsonl")):
        tasks = _tasks_of_json(text)
    elif os.path.isdir(text) or text.endswith(".py"):
        modules = list(_import_source(text))
        tasks = [task for module in modules for task in _tasks_of_module(module)]
        if not tasks:
            tasks = [
                _template_row(template) for env in _unique_environments(modules) for template in env.templates.values()
            ]
    else:
        raise UsageError(f"{text} is no task source", hint="give a .py, .json or .jsonl file, or a folder")
    return _without_repeats(tasks, text)


def select_task(tasks: list[Task], reference: str) -> Task:
    """Give the one row that `reference` names: by slug, by template id, or by index from 0.

    Raises:
        NotFoundError: none; the hint names close ones.
        UsageError: several rows have that template id; the hint lists their slugs.
    """
    matches = [task for task in tasks if task.slug == reference] or [task for task in tasks if task.id == reference]
    if not matches and reference.isdecimal() and int(reference) < len(tasks):
        matches = [tasks[int(reference)]]
    if len(matches) > 1:
        slugs = ", ".join(task.slug for task in matches[:10])
        raise UsageError(f"{len(matches)} tasks have the id {reference!r}", hint=f"name one by its slug: {slugs}")
    if not matches:
        from difflib import get_close_matches

        known = [task.slug for task in tasks] + [task.id for task in tasks]
        close = list(dict.fromkeys(get_close_matches(reference, known, n=3)))
        hint = f"did you mean {', '.join(close)}?" if close else "`hud task list` shows what there is"
        raise NotFoundError(f"unknown task: {reference!r}", hint=hint)
    return matches[0]


def source_folder(source: str | os.PathLike[str]) -> str:
    """Give the absolute folder a source lives in: itself when it is one."""
    path = os.path.abspath(os.fspath(source))
    return path if os.path.isdir(path) else os.path.dirname(path)


class Declared:
    """An environment of a source, with its name and the variables that hold it."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.names = {environment.name}


def _environments(path: str) -> list[Declared]:
    """Collect the distinct environments of a source; one that is reached only through exported rows counts too."""
    found: dict[int, Declared] = {}
    modules = list(_import_source(path))
    for module in modules:
        for attribute, value in vars(module).items():
            if _is_environment(value):
                found.setdefault(id(value), Declared(value)).names.add(attribute)
    for module in modules:
        for task in _tasks_of_module(module):
            if task.environment is not None:
                found.setdefault(id(task.environment), Declared(task.environment))
    return list(found.values())


def pick(declared: list[Declared], name: str | None, path: str) -> Environment:
    """Give the one environment of that name, or the only one.

    Raises:
        NotFoundError: there is none at all.
        UsageError: none, or several, of that name.
    """
    matches = [one.environment for one in declared if name is None or name in one.names]
    if len(matches) == 1:
        return matches[0]
    names = ", ".join(one.environment.name for one in declared)
    if not matches:
        if name is None:
            raise NotFoundError(f"no Environment found in {path}", hint='declare one: env = Environment("my-env")')
        raise UsageError(f"no Environment named {name!r} found in {path}", hint=f"it declares: {names or 'none'}")
    raise UsageError(f"multiple Environments in {path}; select one by name", hint=f"{path}:NAME, of {names}")


def _from_module(module_name: str, attribute: str, args: dict[str, str]) -> Environment:
    from importlib import import_module

    # The folder one stands in is importable, as it is for `python -m`.
    folder = os.getcwd()
    before = _forget(folder)
    sys.path.insert(0, folder)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise NotFoundError(
                f"no environment source {module_name!r}: neither a file {module_name}.py nor a module of that name",
                hint="run it where your env.py is, or name the source: hud serve path/to/env.py",
            ) from None
        raise _load_error(error, module_name) from error
    except (Exception, SystemExit) as error:
        raise _load_error(error, module_name) from error
    finally:
        sys.path.remove(folder)
        _remember(folder, before)
    value = getattr(module, attribute, None)
    if _is_environment(value):
        if args:
            raise UsageError(f"{module_name}:{attribute} is an Environment, which takes no arguments")
        return value
    if value is None or not callable(value):
        raise UsageError(f"no Environment named {attribute!r} found in {module_name}")
    try:
        made = value(**args)
    except (Exception, SystemExit) as error:
        called = error.__traceback__ is not None and error.__traceback__.tb_next is not None
        if isinstance(error, TypeError) and not called:
            raise UsageError(f"{module_name}:{attribute} does not take these arguments: {error}") from error
        raise _load_error(error, f"{module_name}:{attribute}") from error
    if not _is_environment(made):
        raise UsageError(f"{module_name}:{attribute} gave a {type(made).__name__}, not an Environment")
    return made


def _import_source(path: str) -> Iterator[ModuleType]:
    """Import one file, or each file of a folder; in a folder, one that needs something not installed is passed over."""
    folder = source_folder(path)
    names = sorted(os.listdir(path)) if os.path.isdir(path) else [os.path.basename(path)]
    before = _forget(folder)
    sys.path.insert(0, folder)
    try:
        for name in names:
            if os.path.isdir(path) and (not name.endswith(".py") or name in _SKIPPED):
                continue
            file = os.path.join(folder, name)
            try:
                yield _import_file(file)
            except ImportError as error:
                if not os.path.isdir(path):
                    raise _load_error(error, file) from error
                import logging

                logging.getLogger("hud.environment").warning("%s is left out: %s", file, error)
            except EnvironmentLoadError:
                raise
            except (Exception, SystemExit) as error:
                raise _load_error(error, file) from error
    finally:
        sys.path.remove(folder)
        _remember(folder, before)


def _import_file(file: str) -> ModuleType:
    name = os.path.basename(file)[:-3]
    present = sys.modules.get(name)
    if present is not None:
        if os.path.abspath(getattr(present, "__file__", None) or "") == file:
            return present  # a sibling has imported it
        name = f"_hud_source_{name}"  # a module of another origin has the name: leave it its own
    from importlib.machinery import ModuleSpec, SourceFileLoader

    loader = SourceFileLoader(name, file)
    spec = ModuleSpec(name, loader, origin=file)
    spec.has_location = True
    module = type(sys)(name)
    module.__file__, module.__spec__, module.__loader__, module.__package__ = file, spec, loader, ""
    sys.modules[name] = module
    token = _importing.set(True)
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        _importing.reset(token)
    return module


def refuse_while_importing() -> None:
    """Keep a source's script from running tasks while it is imported, which would start them with every command.

    Raises:
        ImportError: the caller's code runs because a source is being imported.
    """
    if _importing.get():
        raise ImportError("it runs tasks while imported; do that under if __name__ == '__main__'")


def _forget(folder: str) -> set[str]:
    """Drop what earlier loads imported from this folder, and files of other sources that have the same names.

    Returns:
        The names of the modules that stay.
    """
    if _loaded:
        siblings = {entry.partition(".")[0] for entry in os.listdir(folder)}
        for name, file in list(_loaded.items()):
            if file.startswith(folder + os.sep) or name.partition(".")[0] in siblings:
                sys.modules.pop(name, None)
                del _loaded[name]
        from importlib import invalidate_caches

        invalidate_caches()  # a file that is newer than the last look into its folder, but not by a clock tick
    return set(sys.modules)


def _remember(folder: str, before: set[str]) -> None:
    """Note which modules of this folder were imported since `before`."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name not in before and file is not None and file.startswith(folder + os.sep) and "site-packages" not in file:
            _loaded[name] = file


def _load_error(error: BaseException, where: str) -> EnvironmentLoadError:
    """Say where it went wrong: in the innermost frame that is in the author's folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return EnvironmentLoadError(f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}")
    folder = source_folder(where) if os.path.exists(where) else os.getcwd()
    place = where
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(folder + os.sep) and "site-packages" not in file:
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = str(error)
    hint = error.hint if isinstance(error, HudError) else None
    if isinstance(error, ModuleNotFoundError):
        hint = f"install the package that brings {error.name!r}, in the image too"
    elif isinstance(error, SystemExit):
        text = f"the source ends the process ({text or 0}) while it is imported"
        hint = 'put the call under `if __name__ == "__main__":`'
    return EnvironmentLoadError(f"{place}: {type(error).__name__}{': ' if text else ''}{text}", hint=hint)


def _is_environment(value: object) -> TypeGuard[Environment]:
    from hud.environment.environment import Environment

    return isinstance(value, Environment)


def _unique_environments(modules: list[ModuleType]) -> list[Environment]:
    found = {id(value): value for module in modules for value in vars(module).values() if _is_environment(value)}
    return list(found.values())


def _tasks_of_module(module: ModuleType) -> Iterator[Task]:
    from hud.eval.task import Task

    for attribute in sorted(vars(module)):  # in order of name, so that a task's index means the same to every client
        if attribute.startswith("_"):
            continue
        value = vars(module)[attribute]
        if isinstance(value, Task):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, Task))
        elif type(value).__name__ == "Taskset" and type(value).__module__ == "hud.eval.taskset":
            yield from value


def _template_row(template: Any) -> Task:
    from hud.eval.task import Task

    return Task(template.environment.name, template.id, environment=template.environment)


def _tasks_of_json(path: str) -> list[Task]:
    import json

    from hud.eval.task import Task

    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    rows: list[tuple[str, Any]] = []
    place = path
    try:
        if path.endswith(".jsonl"):
            for number, line in enumerate(text.split("\n"), 1):
                place = f"{path}:{number}"
                if line.strip():
                    rows.append((place, json.loads(line)))
        else:
            document = json.loads(text)
            items = document if isinstance(document, list) else [document]
            rows = [(f"{path}, row {index}", item) for index, item in enumerate(items)]
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{place} is not JSON: {error}") from error
    tasks = []
    for place, row in rows:
        if not isinstance(row, dict):
            raise UsageError(f"{place}: a task row is an object, got {type(row).__name__}")
        try:
            tasks.append(Task.from_row(row))
        except UsageError as error:
            raise UsageError(f"{place}: {error.message}", hint=error.hint) from error
    return tasks


def _without_repeats(tasks: list[Task], path: str) -> list[Task]:
    """Drop a row that two attributes hold (`tasks` and an alias); refuse two different rows of one slug."""
    unique = list({id(task): task for task in tasks}.values())
    seen: dict[str, Task] = {}
    repeated = [task.slug for task in unique if seen.setdefault(task.slug, task) is not task]
    if repeated:
        slugs = ", ".join(dict.fromkeys(repeated))
        raise UsageError(
            f"duplicate task slugs in {path}: {slugs}", hint="give each row a slug of its own: Task(…, slug=…)"
        )
    return unique

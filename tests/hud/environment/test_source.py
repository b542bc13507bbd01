"""Finding what an author wrote: environments and rows in files, folders, modules and JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hud.environment import Environment, load_environment
from hud.environment.source import collect_tasks, load_environments, select_task, source_files, split_target
from hud.errors import EnvironmentLoadError, HudError, NotFoundError, UsageError
from hud.eval.task import Task

Write = Callable[..., Path]

ENV = """
from hud import Environment
env = Environment("made")

@env.template()
async def solve(level: int = 1):
    yield level
    yield 1.0
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files under a folder and give the folder."""

    def files(**sources: str) -> Path:
        """Each file by its path, with `_in_` for a slash and `_py` for the suffix."""
        for name, text in sources.items():
            stem, _, suffix = name.rpartition("_")
            path = tmp_path / f"{stem.replace('_in_', '/')}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return files


@pytest.fixture(autouse=True)
def untouched_interpreter(tmp_path: Path) -> Iterator[None]:
    """Hold a load to leaving the import path as it was; forget the modules of this test."""
    before = list(sys.path)
    yield
    assert sys.path == before
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("env.py", ("env.py", None)),
        ("env.py:name", ("env.py", "name")),
        ("env:name", ("env", "name")),
        ("pkg.mod:make_env", ("pkg.mod", "make_env")),
        ("a/b.py", ("a/b.py", None)),
        ("a:b/c.py", ("a:b/c.py", None)),
        ("C:\\x.py" if os.sep == "\\" else "C:x.py", ("C:\\x.py" if os.sep == "\\" else "C:x.py", None)),
        ("env.py:", ("env.py", None)),
        (":name", (":name", None)),
        ("", ("", None)),
    ],
)
def test_a_target_splits_into_path_and_name(target: str, parts: tuple[str, str | None]) -> None:
    assert split_target(target) == parts


def test_a_file_gives_its_environment(write: Write) -> None:
    folder = write(env_py=ENV)
    assert load_environment(folder / "env.py").name == "made"
    assert load_environment(str(folder / "env")).name == "made"
    assert load_environment(folder).name == "made"


def test_a_bare_word_means_the_file_of_that_name(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(env_py=ENV))
    assert load_environment("env").name == "made"
    assert load_environment("env.py").name == "made"


def test_a_module_is_found_where_one_stands_and_its_factory_takes_arguments(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(
        pkg_in___init___py="",
        pkg_in_envs_py="""
            from hud import Environment
            env = Environment("plain")
            number = 5
            def make(size="1"):
                return Environment(f"made-{size}")
            def wrong():
                return 5
        """,
    )
    monkeypatch.chdir(folder)
    assert load_environment("pkg.envs").name == "plain"
    assert load_environment("pkg.envs", name="make").name == "made-1"
    assert load_environment("pkg.envs", name="make", args={"size": "9"}).name == "made-9"
    for name, args, message in [
        ("make", {"color": "red"}, "pkg.envs:make does not take these arguments: .*unexpected keyword argument"),
        ("env", {"size": "1"}, "pkg.envs:env is an Environment, which takes no arguments"),
        ("number", {}, "no Environment named 'number' found in pkg.envs"),
        ("nothing", {}, "no Environment named 'nothing' found in pkg.envs"),
        ("wrong", {}, "pkg.envs:wrong gave a int, not an Environment"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_environment("pkg.envs", name=name, args=args)


def test_a_package_with_a_name_is_a_module_and_without_one_a_folder(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(
        pkg_in___init___py="""
            from hud import Environment
            def make(size):
                return Environment(f"package-{size}")
        """,
        pkg_in_env_py=ENV,
    )
    monkeypatch.chdir(folder)
    assert load_environment("pkg", name="make", args={"size": "2"}).name == "package-2"
    assert load_environment("pkg").name == "made"


def test_the_name_is_that_of_any_variable_or_of_the_environment(write: Write) -> None:
    folder = write(
        env_py="""
            from hud import Environment
            first = Environment("one")
            second = alias = Environment("two")
        """
    )
    source = folder / "env.py"
    for name, found in [("first", "one"), ("one", "one"), ("second", "two"), ("alias", "two"), ("two", "two")]:
        assert load_environment(source, name=name).name == found
    with pytest.raises(UsageError) as refusal:
        load_environment(source)
    assert refusal.value.message == f"multiple Environments in {source}; select one by name"
    assert refusal.value.hint == f"{source}:NAME, of one, two"
    with pytest.raises(UsageError) as refusal:
        load_environment(source, name="three")
    assert refusal.value.message == f"no Environment named 'three' found in {source}"
    assert refusal.value.hint == "it declares: one, two"


def test_aliases_of_one_environment_count_once(write: Write) -> None:
    folder = write(env_py=ENV + "\nalias = env\n", more_py="from env import env\nagain = env\n")
    assert load_environment(folder).name == "made"


def test_one_variable_name_in_two_files_is_ambiguous(write: Write) -> None:
    source = "from hud import Environment\nenv = Environment('{}')\n"
    folder = write(a_py=source.format("one"), b_py=source.format("two"))
    with pytest.raises(UsageError, match="multiple Environments in"):
        load_environment(folder, name="env")
    assert load_environment(folder, name="two").name == "two"
    assert [environment.name for environment in load_environments(folder)] == ["one", "two"]


def test_an_environment_reached_only_through_rows_is_found(write: Write) -> None:
    folder = write(
        tasks_py="""
            from hud import Environment
            def build():
                env = Environment("hidden")
                @env.template()
                async def solve(level: int = 1):
                    yield level
                return [solve(level=2)]
            tasks = build()
        """
    )
    assert load_environment(folder / "tasks.py").name == "hidden"


@pytest.mark.parametrize("target", ["nowhere.py", "nowhere/", "no/where", "rows.json"])
def test_a_missing_path_is_not_found(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError) as refusal:
        load_environment(target)
    assert refusal.value.message == f"no such file or folder: {target}"


def test_a_missing_module_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError) as refusal:
        load_environment("env")
    assert refusal.value.message == "no environment source 'env': neither a file env.py nor a module of that name"
    with pytest.raises(NotFoundError, match=r"no environment source 'no\.such'"):
        load_environment("no.such")


def test_a_source_without_an_environment_is_not_found(write: Write) -> None:
    folder = write(env_py="x = 1\n")
    with pytest.raises(NotFoundError) as refusal:
        load_environment(folder / "env.py")
    assert refusal.value.message == f"no Environment found in {folder / 'env.py'}"
    assert refusal.value.hint == 'declare one: env = Environment("my-env")'
    with pytest.raises(NotFoundError):
        load_environments(folder)


def test_arguments_for_a_path_are_a_usage_error(write: Write) -> None:
    with pytest.raises(UsageError, match="arguments are for a factory"):
        load_environment(write(env_py=ENV) / "env.py", args={"a": "1"})


BROKEN = {
    "syntax": ("x = 1\ndef broken(:\n", 2, "SyntaxError: "),
    "indentation": ("if True:\nx = 1\n", 2, "IndentationError: "),
    "null byte": ("x = '\0'\n", None, "SyntaxError: "),
    "encoding": ("# coding: no-such\n", None, "SyntaxError: "),
    "exception": ("\n\ndef f():\n    raise ValueError('bad')\nf()\n", 4, "ValueError: bad"),
    "silent": ("raise KeyError\n", 1, "KeyError"),
    "missing module": ("import no_such_module\n", 1, "ModuleNotFoundError: No module named 'no_such_module'"),
    "missing name": ("from hud import NoSuchName\n", 1, "ImportError: cannot import name 'NoSuchName'"),
    "in a library": ("import json\njson.loads('{')\n", 2, "JSONDecodeError: "),
    "exit": ("import sys\nsys.exit(3)\n", 2, "SystemExit: the source ends the process (3) while it is imported"),
    "exit message": ("raise SystemExit('no key')\n", 1, "SystemExit: the source ends the process (no key)"),
}


@pytest.mark.parametrize(("source", "line", "message"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("load", [load_environment, collect_tasks])
def test_a_source_that_fails_says_file_and_line(
    tmp_path: Path, load: Callable[[Path], object], source: str, line: int | None, message: str
) -> None:
    file = tmp_path / "env.py"
    file.write_text(source)
    with pytest.raises(EnvironmentLoadError) as refusal:
        load(file)
    place = f"{file}:{line}: " if line is not None else str(file)
    assert refusal.value.message.startswith(place), refusal.value.message
    assert message in refusal.value.message
    assert "env" not in sys.modules or sys.modules["env"].__file__ != str(file)


@pytest.mark.parametrize(
    "source", [BROKEN["exception"], BROKEN["exit"], BROKEN["syntax"]], ids=["raise", "exit", "syntax"]
)
def test_a_module_that_fails_says_file_and_line(
    write: Write, monkeypatch: pytest.MonkeyPatch, source: tuple[str, int, str]
) -> None:
    monkeypatch.chdir(write(pkg_in___init___py="", pkg_in_mod_py=source[0]))
    with pytest.raises(EnvironmentLoadError) as refusal:
        load_environment("pkg.mod")
    assert re.match(rf".*mod\.py:{source[1]}: .*", refusal.value.message)
    assert source[2] in refusal.value.message


def test_a_module_that_is_not_installed_comes_with_a_hint(write: Write) -> None:
    with pytest.raises(EnvironmentLoadError) as refusal:
        load_environment(write(env_py="import no_such_module\n") / "env.py")
    assert refusal.value.hint == "install the package that brings 'no_such_module', in the image too"


def test_an_error_in_a_sibling_names_the_sibling(write: Write) -> None:
    folder = write(env_py="import helper\n", helper_py="\nraise ValueError('bad helper')\n")
    with pytest.raises(EnvironmentLoadError) as refusal:
        load_environment(folder / "env.py")
    assert refusal.value.message == f"{folder / 'helper.py'}:2: ValueError: bad helper"


def test_an_error_of_ours_in_a_source_says_file_and_line_and_keeps_its_hint(write: Write) -> None:
    folder = write(env_py="from hud.environment import Capability\n\nCapability.cdp(url='')\n")
    with pytest.raises(EnvironmentLoadError) as refusal:
        load_environment(folder / "env.py")
    assert refusal.value.message == f"{folder / 'env.py'}:3: UsageError: a capability needs an address"
    assert refusal.value.hint == "pass url='host:port'"


def test_a_factory_that_fails_says_file_and_line(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def make():\n    return len(5)\ndef leave():\n    raise SystemExit(1)\n"
    monkeypatch.chdir(write(pkg_in___init___py="", pkg_in_factory_py=source))
    for name, line in [("make", 2), ("leave", 4)]:
        with pytest.raises(EnvironmentLoadError, match=rf"factory\.py:{line}: (TypeError|SystemExit): "):
            load_environment("pkg.factory", name=name)


def test_loading_leaves_modules_alone_that_were_there_before(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that holds an env.py beside this package must not have the package loaded twice."""
    folder = write(env_py=ENV, older_py="")
    monkeypatch.syspath_prepend(folder)
    import importlib

    older = importlib.import_module("older")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        load_environment(folder / "env.py")
        load_environment(folder / "env.py")
    assert sys.modules["older"] is older


def test_an_interrupt_during_the_import_is_no_load_error(write: Write) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_environment(write(env_py="raise KeyboardInterrupt\n") / "env.py")


def test_a_folder_is_scanned_one_level_in_order_and_skips_what_is_no_source(write: Write) -> None:
    raising = "raise ValueError('imported')\n"
    folder = write(
        b_py="from order import seen\nseen.append('b')\n",
        a_py="from order import seen\nseen.append('a')\n",
        order_py="seen = []\nfrom hud import Environment\nenv = Environment('scanned')\n",
        conftest_py=raising,
        setup_py=raising,
        __init___py=raising,
        sub_in_env_py=raising,
    )
    (folder / "__main__.py").write_text(raising)
    assert load_environment(folder).name == "scanned"
    assert sys.modules["order"].seen == ["a", "b"]


def test_in_a_folder_a_file_that_lacks_a_package_is_left_out_with_a_warning(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(env_py=ENV, needs_py="import no_such_module\n")
    assert load_environment(folder).name == "made"
    assert f"{folder / 'needs.py'} is left out: No module named 'no_such_module'" in caplog.text


def test_in_a_folder_any_other_failure_is_an_error(write: Write) -> None:
    folder = write(env_py=ENV, other_py="raise ValueError('bad')\n")
    with pytest.raises(EnvironmentLoadError, match="bad"):
        load_environment(folder)


def test_tasks_and_env_share_one_module(write: Write) -> None:
    folder = write(env_py=ENV, tasks_py="from env import solve\ntasks = [solve(), solve(level=2)]\n")
    for source in (folder, folder / "tasks.py"):
        tasks = collect_tasks(source)
        assert [task.slug for task in tasks] == ["solve", tasks[1].slug]
        assert tasks[0].environment is tasks[1].environment
        assert tasks[0].environment is sys.modules["env"].env


def test_loading_again_sees_edits_of_the_file_and_of_its_siblings(write: Write) -> None:
    folder = write(env_py="from helper import name\nfrom hud import Environment\nenv = Environment(name)\n")
    seen: list[str] = []
    for name in ("one", "two", "six"):
        (folder / "helper.py").write_text(f"name = {name!r}\n")
        os.utime(folder / "helper.py", (1, len(seen)))
        seen.append(load_environment(folder / "env.py").name)
    assert seen == ["one", "two", "six"]


def test_loading_a_module_again_sees_edits(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(pkg_in___init___py="")
    monkeypatch.chdir(folder)
    for number in range(2):
        file = folder / "pkg" / "envs.py"
        file.write_text(f"from hud import Environment\nenv = Environment('v{number}')\n")
        os.utime(file, (1, number))
        assert load_environment("pkg.envs").name == f"v{number}"


def test_sources_of_the_same_name_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"name = {name!r}\n")
        text = "from helper import name\nfrom hud import Environment\nenv = Environment(name)\n"
        (tmp_path / name / "env.py").write_text(text)
    assert [load_environment(tmp_path / name / "env.py").name for name in ("one", "two", "one")] == [
        "one",
        "two",
        "one",
    ]


def test_a_file_named_like_a_library_does_not_replace_it(write: Write) -> None:
    folder = write(json_py=ENV)
    (folder / "json.py").write_text(ENV)
    assert load_environment(folder / "json.py").name == "made"
    assert sys.modules["json"] is json


def test_the_files_to_watch_are_those_that_were_imported(write: Write) -> None:
    folder = write(env_py="import helper\n" + ENV, helper_py="", unused_py="")
    load_environment(folder / "env.py")
    assert source_files(folder / "env.py") == [str(folder / "env.py"), str(folder / "helper.py")]


def test_rows_are_public_tasks_tasksets_and_lists_in_order_of_their_names(write: Write) -> None:
    folder = write(
        env_py=ENV,
        tasks_py="""
            from env import solve
            from hud import Task, Taskset
            first = solve(level=1)
            several = (solve(level=2), "no task", Task("made", "solve", slug="third"))
            group = Taskset("group", [solve(level=4)])
            _private = solve(level=5)
            nested = [[solve(level=6)]]
            number = 7
            alias = first
        """,
    )
    assert [task.args or task.slug for task in collect_tasks(folder / "tasks.py")] == [
        {"level": 1},
        {"level": 4},
        {"level": 2},
        "third",
    ]


def test_a_source_without_rows_gives_one_a_template(write: Write) -> None:
    folder = write(env_py=ENV + "\n@env.template(id='other')\nasync def more(a: int):\n    yield a\n")
    tasks = collect_tasks(folder / "env.py")
    assert [(task.env, task.id, task.slug, task.args) for task in tasks] == [
        ("made", "solve", "solve", {}),
        ("made", "other", "other", {}),
    ]


def test_duplicate_slugs_are_named(write: Write) -> None:
    folder = write(env_py=ENV + "a = [solve(), solve(), solve(level=2)]\nb = solve(level=2)\n")
    with pytest.raises(UsageError) as refusal:
        collect_tasks(folder / "env.py")
    assert re.fullmatch(r"duplicate task slugs in .*env\.py: solve, solve-[0-9a-f]{8}", refusal.value.message)


def test_rows_of_json_files(write: Write) -> None:
    row = {"env": "made", "id": "solve", "args": {"level": 2}, "slug": "hard", "columns": {"k": 1}}
    folder = write(
        one_json=json.dumps(row),
        many_json="\ufeff" + json.dumps([row, {"env": {"name": "made"}, "id": "solve"}]),
        lines_jsonl=json.dumps(row) + "\n\n" + json.dumps({"env": "é", "id": "solve"}) + "\n",
        empty_jsonl="",
        none_json="[]",
    )
    assert [task.to_row() for task in collect_tasks(folder / "one.json")] == [row]
    assert [task.slug for task in collect_tasks(folder / "many.json")] == ["hard", "solve"]
    assert [task.env for task in collect_tasks(folder / "lines.jsonl")] == ["made", "é"]
    assert collect_tasks(folder / "empty.jsonl") == collect_tasks(folder / "none.json") == []


BAD_ROWS = {
    "bad.json": ("{", r"bad\.json is not JSON: "),
    "deep.json": ("[" * 100_000, r"deep\.json is not JSON: "),
    "bad.jsonl": ('{"env": "a", "id": "b"}\n\nnope\n', r"bad\.jsonl:3 is not JSON: "),
    "scalar.json": ("[5]", r"scalar\.json, row 0: a task row is an object, got int"),
    "noenv.json": ('{"id": "b"}', r"noenv\.json, row 0: a task row needs 'env': "),
    "noid.jsonl": ('{"env": "a"}', r"noid\.jsonl:1: a task row needs 'id': "),
    "args.json": ('{"env": "a", "id": "b", "args": [1]}', r"row 0: a task's args is an object, got list"),
    "id.json": ('{"env": "a", "id": ""}', r"row 0: a task's id is a non-empty string, got ''"),
    "same.json": ('[{"env": "a", "id": "b"}, {"env": "a", "id": "b"}]', r"duplicate task slugs in .*same\.json: b"),
    "text.txt": ("", r"text\.txt is no task source"),
}


@pytest.mark.parametrize(("name", "text", "message"), [(name, *case) for name, case in BAD_ROWS.items()], ids=BAD_ROWS)
def test_rows_that_cannot_be_read_are_refused_with_their_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        collect_tasks(tmp_path / name)


def test_a_field_that_is_unknown_is_ignored_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"env": "a", "id": "b", "prompt": 1}')
    with pytest.warns(UserWarning, match="a task row has no field 'prompt': it is ignored"):
        (task,) = collect_tasks(tmp_path / "rows.json")
    assert task.to_row() == {"env": "a", "id": "b", "args": {}, "slug": "b"}


def test_rows_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"rows\.json cannot be read: "):
        collect_tasks(tmp_path / "rows.json")


def test_a_missing_task_source_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file or folder: "):
        collect_tasks(tmp_path / "nowhere.json")


TASKS = [
    Task("e", "count", {"word": "a"}, slug="count-a"),
    Task("e", "count", {"word": "b"}, slug="count-b"),
    Task("e", "fix_bug"),
    Task("e", "odd", slug="2"),
    Task("e", "slugged", slug="fix_bug_hard"),
]


@pytest.mark.parametrize(
    ("reference", "slug"),
    [
        ("count-a", "count-a"),
        ("fix_bug", "fix_bug"),
        ("slugged", "fix_bug_hard"),
        ("0", "count-a"),
        ("2", "2"),
        ("4", "fix_bug_hard"),
    ],
)
def test_a_row_is_selected_by_slug_by_id_and_by_index(reference: str, slug: str) -> None:
    assert select_task(TASKS, reference).slug == slug


def test_a_reference_to_several_rows_lists_their_slugs() -> None:
    with pytest.raises(UsageError) as refusal:
        select_task(TASKS, "count")
    assert refusal.value.message == "2 tasks have the id 'count'"
    assert refusal.value.hint == "name one by its slug: count-a, count-b"
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("fix_bog", "did you mean fix_bug, fix_bug_hard?"),
        ("cuont-a", "did you mean count-a, count-b, count?"),
        ("zzzz", "`hud task list` shows what there is"),
        ("5", "`hud task list` shows what there is"),
        ("-1", "`hud task list` shows what there is"),
        ("", "`hud task list` shows what there is"),
    ],
)
def test_an_unknown_reference_comes_with_close_matches(reference: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as refusal:
        select_task(TASKS, reference)
    assert refusal.value.message == f"unknown task: {reference!r}"
    assert refusal.value.hint == hint
    assert refusal.value.exit_code == 1


def test_every_failure_is_an_error_of_ours(tmp_path: Path) -> None:
    """Commands print these in one line; anything else would be shown as a defect."""
    (tmp_path / "env.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HudError):
        load_environment(tmp_path / "env.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(HudError):
        load_environment(tmp_path / "folder.py")
    with pytest.raises(HudError):
        load_environment("")


def test_an_environment_finds_its_templates_with_close_matches() -> None:
    environment = Environment("finds")
    for name in ("fix_bug", "count"):

        @environment.template(id=name)
        async def template(a: int = 0):  # type: ignore[no-untyped-def]
            yield a

    assert environment.find("count").id == "count"
    with pytest.raises(NotFoundError) as refusal:
        environment.find("fix_bag")
    assert (refusal.value.message, refusal.value.hint) == ("unknown task: 'fix_bag'", "did you mean fix_bug?")
    with pytest.raises(NotFoundError) as refusal:
        environment.find("zzz")
    assert refusal.value.hint == "tasks: fix_bug, count"

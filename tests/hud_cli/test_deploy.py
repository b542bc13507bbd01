"""`hud deploy` against the public service's stand-in: what is sent, what is shown, what is asked, and every refusal."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.hud.context.folders import Files, write
from tests.hud_cli.conftest import Done, Hud, closed_port, read_until
from tests.stand_in import FRAMES, SUCCEEDED, PublicService, Scripted

ENV = 'from hud import Environment\nenv = Environment("Letter_Env")\nraise RuntimeError("imported")\n'
FILES: Files = {
    "Dockerfile.hud": 'FROM x\nCMD ["hud", "serve", "env:env"]\n',
    "env.py": ENV,
    ".dockerignore": "*.log\n!.env\n",
    "noise.log": "",
    ".netrc": "machine x password p",
    "empty": None,
}
VALUES = ("v4lue-of-env", "v4lue-of-arg", "v4lue-of-file", "v4lue-of-secret")

Deploy = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "letter", FILES)


@pytest.fixture
def deploy(hud: Hud, folder: Path, public_service: PublicService) -> Deploy:
    """Run `hud deploy` in the folder."""

    def run(*words: str, cwd: Path = folder, **variables: str) -> Done:
        return hud("deploy", *words, cwd=cwd, **{"HUD_RETRY_LIMIT_S": "10", **public_service.variables, **variables})

    return run


def trigger(service: PublicService) -> dict[str, Any]:
    (body,) = service.triggers.values()
    fields: dict[str, Any] = body
    return fields


def members(service: PublicService) -> list[str]:
    (archive,) = service.uploads.values()
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        return file.getnames()


def test_a_deploy_builds_registers_and_links(deploy: Deploy, folder: Path, public_service: PublicService) -> None:
    done = deploy()
    (registry,) = public_service.environments
    assert done.code == 0, done.err
    assert done.out == (
        "environment  Letter_Env, version 4\n"
        "image        registry.test/letter-env:4\n"
        "tasks        count\n"
        f"address      {public_service.url}/environments/{registry}\n"
    )
    assert json.loads((folder / ".hud" / "config.json").read_text())["registry_id"] == registry
    assert trigger(public_service) == {
        "source": "direct",
        "build_id": next(iter(public_service.triggers)),
        "name": "Letter_Env",
        "no_cache": False,
    }


def test_a_deploy_in_ci_says_every_line_on_stderr(deploy: Deploy, public_service: PublicService) -> None:
    done = deploy()
    (build,) = public_service.triggers
    assert [line for line in done.err.splitlines() if "sent; build" not in line] == [
        "Left out because it holds credentials: .netrc",
        "Connected to build logs",
        "#1 [internal] load build definition",
        "Build SUCCEEDED",
    ]
    assert f" sent; build {build} of Letter_Env is begun\n" in done.err


def test_what_travels_is_what_docker_would_take_without_credentials(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    write(folder, {".env": "A=1", ".git/config": "x"})
    assert deploy("--no-env").code == 0
    assert members(public_service) == [".dockerignore", "Dockerfile.hud", "empty", "env.py"]


def test_pa_37_every_option_travels_in_its_field(deploy: Deploy, folder: Path, public_service: PublicService) -> None:
    project = public_service.add_project("engines")
    config = {"resources": {"cpu": 2}, "limits": {"run_timeout_s": 600}}
    write(folder, {"config.json": json.dumps(config), "t0ken": VALUES[3]})
    done = deploy(
        *("--env", f"A={VALUES[0]}", "-e", "EMPTY=", "--build-arg", f"B={VALUES[1]}", "--no-cache"),
        *("--secret", "id=npm,src=t0ken", "--secret", "id=pip,env=PIP_TOKEN", "--project", "Engines"),
        *("--runtime", "modal", "--runtime-config", "config.json"),
        PIP_TOKEN=VALUES[2],
    )
    assert done.code == 0, done.err
    body = trigger(public_service)
    assert {name: value for name, value in body.items() if name not in ("source", "build_id", "name")} == {
        "no_cache": True,
        "project_id": project,
        "runtime_provider": "modal",
        "runtime_config": config,
        "environment_variables": {"A": VALUES[0], "EMPTY": ""},
        "build_args": {"B": VALUES[1]},
        "build_secrets": {"npm": VALUES[3], "pip": VALUES[2]},
    }
    assert not any(value in done.out + done.err for value in VALUES)
    assert not (folder / ".hud" / "config.json").exists()  # a project that was named for this one time


def test_json_is_one_document_without_a_value(deploy: Deploy, public_service: PublicService) -> None:
    words = ("--env", f"A={VALUES[0]}", "--build-arg", f"B={VALUES[1]}", "--secret", "id=s,env=S")
    done = deploy("--json", *words, S=VALUES[3])
    document = json.loads(done.out)
    context = document.pop("context")
    (registry,) = public_service.environments
    assert document == {
        "name": "Letter_Env",
        "registry_id": registry,
        "build_id": next(iter(public_service.triggers)),
        "status": "SUCCEEDED",
        "version": 4,
        "uri": "registry.test/letter-env:4",
        "digest": None,
        "size_bytes": None,
        "duration_seconds": None,
        "tasks": ["count"],
        "capabilities": ["shell"],
        "url": f"{public_service.url}/environments/{registry}",
    }
    sizes = (context["digest"], context["files"], context["bytes"] > 0, context["sent_bytes"] > 0)
    assert sizes == (None, 3, True, True)
    assert not any(value in done.out + done.err for value in VALUES)


def test_registry_id_deploys_elsewhere_this_one_time(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    identifier = public_service.add_environment("other")
    assert deploy("--registry-id", "other").code == 0
    assert trigger(public_service)["registry_id"] == identifier
    assert not (folder / ".hud").exists()
    gone = deploy("--registry-id", "99999999-9999-4999-8999-999999999999")
    assert (gone.code, "there is no environment 99999999" in gone.err) == (1, True)


def test_an_env_file_supplies_the_name(deploy: Deploy, folder: Path, public_service: PublicService) -> None:
    write(folder, {"other.py": 'from hud import Environment\nenv = Environment("other")\n'})
    assert deploy("other.py").code == 0
    assert trigger(public_service)["name"] == "other"


# Dry runs


def test_a_dry_run_asks_nothing_and_shows_what_would_travel(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    write(folder, {".env": f"SECRET={VALUES[2]}\nHUD_API_KEY=k\n"})
    done = deploy("--dry-run", "--env", f"A={VALUES[0]}", "--secret", "id=npm,env=S", HUD_API_KEY="", S=VALUES[3])
    assert done.code == 0, done.err
    sizes = {line.split()[1]: int(line.split()[0]) for line in done.out.splitlines()}
    assert sizes == {".dockerignore": 12, "Dockerfile.hud": 39, "env.py": len(ENV)}
    assert "Letter_Env: 3 files, " in done.err
    assert "built by Dockerfile.hud. Nothing was sent." in done.err
    assert "Left out because it holds credentials: .env, .netrc\n" in done.err
    assert "Variables: A\nBuild secrets: npm\n" in done.err
    assert "A deploy would ask whether to send SECRET of .env." in done.err
    assert not any(value in done.out + done.err for value in VALUES)
    assert public_service.requests == []


def test_a_dry_run_in_json_lists_files_and_names(deploy: Deploy, public_service: PublicService) -> None:
    done = deploy("--dry-run", "--json", "--build-arg", f"B={VALUES[1]}")
    document = json.loads(done.out)
    assert document["files"][0] == {"path": ".dockerignore", "size_bytes": 12}
    assert document["left_out"] == ["noise.log"]
    assert document["secrets_left_out"] == [".netrc"]
    assert (document["name"], document["recipe"], document["build_args"]) == ("Letter_Env", "Dockerfile.hud", ["B"])
    assert public_service.requests == []


# Variables


def test_r21_a_first_deploy_with_a_dot_env_has_to_say_what_becomes_of_it(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    write(folder, {".env": f"A={VALUES[0]}\nB={VALUES[1]}\n"})
    done = deploy("--yes")
    assert done.code == 2
    assert "Error: .env has variables (A, B), and nobody can be asked whether to send them\n" in done.err
    assert "Hint: --env-file .env sends them, --no-env does not\n" in done.err
    assert not any(value in done.out + done.err for value in VALUES)
    assert public_service.calls("POST") == []
    assert deploy("--env-file", ".env", "--env", "B=over").code == 0
    assert trigger(public_service)["environment_variables"] == {"A": VALUES[0], "B": "over"}


def test_r21_later_deploys_leave_dot_env_alone_and_upsert_a_file_that_is_named(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    assert deploy().code == 0
    public_service.triggers.clear()
    write(folder, {".env": "A=1\n", "more.txt": "C=3\n"})
    assert deploy().code == 0
    assert "environment_variables" not in trigger(public_service)
    public_service.triggers.clear()
    assert deploy("--env-file", "more.txt").code == 0
    assert trigger(public_service)["environment_variables"] == {"C": "3"}


def test_the_keys_of_hud_itself_are_no_variables_of_an_environment(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    write(folder, {".env": f"HUD_API_KEY={public_service.key}\nHUD_API_URL={public_service.url}\n"})
    assert deploy().code == 0
    assert "environment_variables" not in trigger(public_service)


@pytest.mark.parametrize(("answer", "sent"), [("y", {"A": "1"}), ("n", None), ("", None)])
def test_r21_on_a_terminal_it_is_asked_once(
    folder: Path, variables: dict[str, str], public_service: PublicService, answer: str, sent: object
) -> None:
    write(folder, {".env": "A=1\n"})
    terminal = on_terminal(folder, variables, public_service)
    terminal.expect_exact("Send A of .env as variables of the environment? [y/N] ")
    terminal.sendline(answer)
    terminal.expect(pexpect.EOF)
    assert trigger(public_service).get("environment_variables") == sent


# Refusals


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        ({"Dockerfile.hud": None}, 1, "Error: . has neither Dockerfile.hud nor Dockerfile\n"),
        ({"env.py": "x = 1\n"}, 1, "Error: . declares no environment\n"),
        (
            {"env.py": 'import hud\na = hud.Environment("a")\nb = hud.Environment("b")\n'},
            2,
            "several environments: a (",
        ),
        ({"env.py": "import hud\nenv = hud.Environment(name=f())\n"}, 2, "has no literal name\n"),
        ({"env.py": "Environment(\n"}, 1, "Error: env.py:1, which the image serves, cannot be parsed: "),
        ({"env.py": 'import hud\nenv = hud.Environment("///")\n'}, 2, "'///' has no letter or digit\n"),
        ({"Dockerfile.hud": "COPY . .\n"}, 1, "Error: "),
    ],
    ids=["no recipe", "no name", "several", "computed", "syntax", "empty", "no FROM"],
)
def test_what_cannot_be_built_is_said_before_anything_is_sent(
    deploy: Deploy, folder: Path, public_service: PublicService, files: Files, code: int, message: str
) -> None:
    (folder / "Dockerfile.hud").unlink()
    write(
        folder,
        {"Dockerfile.hud": 'FROM x\nCMD ["hud", "serve", "env"]\n', **files}
        if "Dockerfile.hud" not in files
        else files,
    )
    done = deploy()
    assert (done.code, message in done.err) == (code, True), done.err
    assert public_service.requests == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--env", "A"), "--env takes NAME=VALUE, got 'A' alone"),
        (("--env", "1A=v4lue"), "--env takes NAME=VALUE, got '1A' as the name"),
        (("--build-arg", "=v4lue"), "--build-arg takes NAME=VALUE, got '' as the name"),
        (("--env-file", "x", "--no-env"), "--env-file and --no-env exclude each other"),
        (("--secret", "id=a,env=NOT_SET"), "the secret 'a' is to be in $NOT_SET, which is not set"),
        (("--secret", "src=v4lue"), "--secret without an id cannot be read"),
        (("--secret", "id=a,value=v4lue"), "--secret id=a cannot be read"),
        (("--runtime", "moon"), "--runtime is hud or modal, got 'moon'"),
        (("--runtime-config", "env.py"), "env.py is no JSON: "),
        (("--all", "--name", "x"), "--all takes no --name or --registry-id: each folder has its own"),
    ],
)
def test_a_wrong_option_is_a_usage_error_without_its_value(
    deploy: Deploy, public_service: PublicService, words: tuple[str, ...], message: str
) -> None:
    done = deploy(*words)
    assert (done.code, f"Error: {message}" in done.err) == (2, True), done.err
    assert "v4lue" not in done.out + done.err
    assert public_service.requests == []


@pytest.mark.parametrize(
    ("variables", "code", "kind"),
    [
        ({"HUD_API_KEY": ""}, 4, "permission_denied"),
        ({"HUD_API_KEY": "wrong"}, 4, "permission_denied"),
        ({"HUD_API_URL": f"http://127.0.0.1:{closed_port()}", "HUD_RETRY_LIMIT_S": "0"}, 3, "unreachable"),
    ],
    ids=["no key", "wrong key", "no platform"],
)
def test_without_a_platform_nothing_happens(deploy: Deploy, variables: dict[str, str], code: int, kind: str) -> None:
    done = deploy("--json", **variables)
    assert (done.code, json.loads(done.out)["error"]) == (code, kind)


def test_weakness_8_another_name_in_code_is_noticed(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    deploy()
    write(folder, {"env.py": ENV.replace("Letter_Env", "renamed")})
    (old,) = public_service.environments
    done = deploy()
    assert done.code == 2
    assert "this folder deployed to 'letter-env' so far, and its code declares 'renamed' now" in done.err
    assert f"Hint: --yes makes renamed; --registry-id {old} keeps the old one" in done.err
    assert len(public_service.triggers) == 1
    assert deploy("--yes").code == 0
    assert len(public_service.environments) == 2


def test_a_link_of_another_team_is_not_used(deploy: Deploy, public_service: PublicService) -> None:
    deploy()
    public_service.identity = {**public_service.identity, "team_id": str(uuid.uuid4())}
    done = deploy()
    assert (done.code, "links to" in done.err) == (1, True)
    assert len(public_service.triggers) == 1


def test_a_build_that_fails_exits_with_1_and_says_why(deploy: Deploy, public_service: PublicService) -> None:
    public_service.statuses = [{"status": "FAILED", "error_message": "step 3 exited with 1"}]
    done = deploy("--json")
    (build,) = public_service.triggers
    assert done.code == 1
    assert json.loads(done.out) == {
        "error": "failure",
        "message": "Letter_Env is not deployed: step 3 exited with 1",
        "suggestion": f"hud build logs {build}",
    }


def test_pa_40_an_upload_that_fails_triggers_nothing(deploy: Deploy, public_service: PublicService) -> None:
    public_service.script("PUT", "/store/.*", Scripted(status=403, body=b"<x/>"))
    done = deploy()
    assert (done.code, public_service.triggers) == (1, {})
    assert "s3cr3t-signature" not in done.err


def test_weakness_2_a_put_that_fails_once_is_put_again(deploy: Deploy, public_service: PublicService) -> None:
    public_service.script("PUT", "/store/.*", Scripted(status=503, headers={"Retry-After": "0"}))
    done = deploy()
    assert done.code == 0
    assert "answered 503; trying again in 0 s" in done.err


def test_weakness_7_a_queued_build_and_a_refused_log_are_waited_for(
    deploy: Deploy, public_service: PublicService
) -> None:
    public_service.statuses = [{"status": "QUEUED"}, SUCCEEDED]
    public_service.log_status = 404
    done = deploy()
    assert done.code == 0
    assert "the log cannot be followed (the platform does not stream it); waiting for the build's end\n" in done.err


def test_a_folder_that_cannot_be_written_is_deployed_and_not_linked(
    deploy: Deploy, folder: Path, public_service: PublicService
) -> None:
    write(folder, {".hud@": "/proc/self"})  # where nobody can make a file
    done = deploy()
    assert (done.code, len(public_service.triggers)) == (0, 1)
    assert "Warning: the folder is not linked to its environment: " in done.err


def test_a_log_cannot_move_the_cursor(deploy: Deploy, public_service: PublicService) -> None:
    evil = "#1 \x1b[2J\x1b]0;title\x07red\x1b[31m\x9b1m\x08\x00 done\tend"
    public_service.frames = [{"type": "log", "message": evil}, *FRAMES[-1:]]
    assert "#1 red1m done\tend\n" in deploy().err


def test_an_error_cannot_move_the_cursor(deploy: Deploy, hud: Hud, public_service: PublicService) -> None:
    public_service.statuses = [{"status": "FAILED", "error_message": "it said \x1b[2J\x07no"}]
    done = deploy()
    again = hud("build", "logs", "b-1", **public_service.variables)
    assert "\x1b" not in done.err + again.err
    assert "it said" in done.err
    assert again.err == "The build ended: FAILED, it said no\n"


# Several folders


def test_all_deploys_each_folder_with_a_dockerfile_and_fails_if_one_does(
    deploy: Deploy, tmp_path: Path, public_service: PublicService
) -> None:
    parent = tmp_path / "many"
    write(parent / "a", {"Dockerfile": "FROM x\n", "env.py": ENV.replace("Letter_Env", "a")})
    write(parent / "b", {"Dockerfile": "FROM x\n", "env.py": ""})
    write(parent / "c", {"Dockerfile.hud": "FROM x\n", "env.py": ENV.replace("Letter_Env", "c")})
    write(parent / "docs", {"readme.md": ""})
    done = deploy("--all", str(parent))
    assert done.code == 1
    assert [line.split()[1:4] for line in done.out.splitlines()] == [
        ["a,", "version", "4"],
        ["failed", str(parent / "b"), "declares"],
        ["c,", "version", "4"],
    ]
    documents = json.loads(deploy("--all", str(parent), "--json").out)
    assert [document.get("name", document.get("error")) for document in documents] == ["a", "not_found", "c"]
    assert deploy("--all", str(parent / "docs")).code == 1


# Interruptions


def on_terminal(folder: Path, variables: dict[str, str], service: PublicService, *words: str) -> Any:
    """Run `hud deploy` on a terminal."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "hud_cli", "deploy", *words],
        cwd=str(folder),
        env={**variables, **service.variables, "TERM": "xterm"},
        timeout=20,
        dimensions=(30, 100),
    )


def started(folder: Path, variables: dict[str, str], service: PublicService) -> subprocess.Popen[bytes]:
    """Start `hud deploy` without a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "hud_cli", "deploy"],
        cwd=folder,
        env={**variables, **service.variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c_during_the_upload_registers_nothing(
    folder: Path, variables: dict[str, str], public_service: PublicService
) -> None:
    (folder / "big").write_bytes(os.urandom(30_000_000))
    public_service.script("PUT", "/store/.*", Scripted(delay_s=6))
    terminal = on_terminal(folder, variables, public_service)
    terminal.expect_exact("Sending")
    terminal.sendintr()
    terminal.expect_exact("Interrupted.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert public_service.triggers == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_that_cannot_be_cancelled_is_left_with_the_way_back(
    folder: Path, variables: dict[str, str], public_service: PublicService, number: int, code: int
) -> None:
    public_service.statuses = [{"status": "IN_PROGRESS"}]
    public_service.frames, public_service.frame_delay_s = [*FRAMES[:3], *FRAMES[2:3] * 200], 0.1
    process = started(folder, variables, public_service)
    assert process.stderr is not None
    read_until(process.stderr.fileno(), b"#1 [internal]")
    process.send_signal(number)
    _, err = process.communicate(timeout=15)
    (build,) = public_service.triggers
    assert process.returncode == code
    assert f"The build goes on. To watch it: hud build logs {build}\n" in err.decode()


def test_ctrl_c_while_the_build_is_asked_for_says_that_it_may_have_begun(
    folder: Path, variables: dict[str, str], public_service: PublicService
) -> None:
    public_service.script("POST", "/v2/builds/trigger", Scripted(delay_s=5, acted=True))
    process = started(folder, variables, public_service)
    while not public_service.triggers:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    (build,) = public_service.triggers
    assert process.returncode == 130
    assert f"The build may have begun. To see whether: hud build logs {build}\n" in err.decode()


def test_on_a_terminal_steps_are_told_from_what_they_print(
    folder: Path, variables: dict[str, str], public_service: PublicService
) -> None:
    step, failed = "[2/3] RUN make", "[3/3] RUN false"
    public_service.frames = [
        {"type": "status", "message": "Building the image"},
        {"type": "log", "step": "[1/3] FROM x", "message": "[1/3] FROM x\nCACHED", "ended": True},
        {"type": "log", "step": step, "message": f"{step}\nprinted by make\nDONE 1.5s", "ended": True},
        {"type": "log", "step": failed, "message": f"{failed}\nthe reason\nERROR: exit code: 1", "ended": True},
        *FRAMES[-1:],
    ]
    terminal = on_terminal(folder, variables, public_service, "--no-env")
    terminal.expect(pexpect.EOF)
    screen = terminal.before.decode()
    assert "✓" in screen
    assert "1.5s" in screen
    assert "cached" in screen
    assert "printed by make" not in screen
    assert "the reason" in screen.partition("✗")[0]


def test_the_link_is_kept_private_to_nobody_and_whole(deploy: Deploy, folder: Path) -> None:
    deploy()
    path = folder / ".hud" / "config.json"
    assert stat.S_ISREG(path.stat().st_mode)
    assert {"version", "scope", "registry_id", "taskset_id", "project_id"} == set(json.loads(path.read_text()))
    assert [entry.name for entry in path.parent.iterdir() if "config" in entry.name] == ["config.json"]

"""What `hud deploy` is told becomes values, read where each is said to be, and no message shows one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hud.errors import HudError, UsageError
from hud_cli import deploy_options

VALUE = "v4lue, with = and\nlines äß"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_bytes(VALUE.encode())
    return path


@pytest.mark.parametrize(
    "item",
    ["id=token,env=TOKEN", "id=token,type=env,src=TOKEN", "env=TOKEN,id=token", "id=token,type=env,env=TOKEN"],
)
def test_a_secret_is_read_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch, item: str) -> None:
    monkeypatch.setenv("TOKEN", VALUE)
    assert deploy_options.secrets([item]) == {"token": VALUE}


def test_a_secret_without_a_source_is_the_variable_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", VALUE)
    assert deploy_options.secrets(["id=TOKEN"]) == {"TOKEN": VALUE}


@pytest.mark.parametrize("form", ["id=token,src={}", "id=token,source={}", "type=file,id=token,src={}"])
def test_a_secret_is_read_from_the_file_that_is_named(file: Path, form: str) -> None:
    assert deploy_options.secrets([form.format(file)]) == {"token": VALUE}


def test_several_secrets_are_several_and_the_last_of_one_id_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "")
    items = [f"id=a,src={file}", f"id=b,src={file}", "id=a,env=TOKEN"]
    assert deploy_options.secrets(items) == {"a": "", "b": VALUE}


def test_a_secret_that_is_not_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\x00v4lue")
    with pytest.raises(HudError, match=rf"the secret 'token' in {file} is no UTF-8 text$"):
        deploy_options.secrets([f"id=token,src={file}"])


def test_a_secret_whose_file_cannot_be_read_names_it(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(HudError, match=rf"the secret 'token' cannot be read from {path}: {reason}$"):
            deploy_options.secrets([f"id=token,src={path}"])


@pytest.mark.parametrize(
    "item",
    [
        *("", "token", "id=", "id=a,b=v4lue", "id=a,type=v4lue", "env=v4lue", "id=a,v4lue", "id=a,src=", "id=a,env="),
        *("id=a,env=v4lue,src=v4lue", "id=a,type=file", "id=a,type=file,env=v4lue"),
    ],
)
def test_a_malformed_secret_is_a_usage_error_with_the_two_forms(item: str) -> None:
    with pytest.raises(UsageError, match=r"^--secret .*cannot be read$") as caught:
        deploy_options.secrets([item])
    assert caught.value.hint == "--secret id=NAME,env=VARIABLE or --secret id=NAME,src=FILE"
    assert "v4lue" not in str(caught.value)


def test_pairs_keep_what_follows_the_first_equals_sign() -> None:
    assert deploy_options.pairs("--env", ["A=", "B=a=b", "C= c ", "B=b"]) == {"A": "", "B": "b", "C": " c "}


@pytest.mark.parametrize("item", ["", "=v4lue", "A B=v4lue", "A-B=v4lue", "é=v4lue", "v4lue\n=x"])
def test_a_pair_that_is_none_is_refused_without_its_value(item: str) -> None:
    with pytest.raises(UsageError, match="--build-arg takes NAME=VALUE") as caught:
        deploy_options.pairs("--build-arg", [item])
    assert "=v4lue" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON: "),
        ("[]", "not an object"),
        ('{"moon": 1}', "moon"),
        ('{"resources": {"cpu": -1}}', "cpu"),
        ("\udcff", "is no JSON: "),
    ],
)
def test_a_runtime_config_that_no_runtime_knows_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=message):
        deploy_options.runtime_config(path)


def test_a_runtime_config_travels_as_it_was_set(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"resources": {"cpu": 2, "memory_mb": 2048}, "limits": {"run_timeout_s": 600}}')
    assert deploy_options.runtime_config(path) == {
        "resources": {"cpu": 2.0, "memory_mb": 2048},
        "limits": {"run_timeout_s": 600},
    }


def test_what_hud_itself_is_set_by_is_no_variable_of_an_environment(tmp_path: Path) -> None:
    ours = "HUD_API_KEY=v4lue\nHUD_API_URL=http://x\nHUD_DEFAULT_PROJECT=p\nHUD_RETRY_LIMIT_S=5\n"
    (tmp_path / ".env").write_text(f"{ours}A=1\nHUD_X=2\n")
    assert deploy_options.own_variables(tmp_path) == {"A": "1", "HUD_X": "2"}
    assert deploy_options.own_variables(tmp_path / "none") == {}

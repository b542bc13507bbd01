"""Secrets at rest: what is encrypted comes back, and only under its own key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud.errors import HudError
from hud_platform.storage.data_folder import open_folder
from hud_platform.storage.vault import Vault, open_vault

VAULT = Vault(bytes(32))


@given(st.text())
def test_what_is_encrypted_comes_back(text: str) -> None:
    assert VAULT.decrypt(VAULT.encrypt(text)) == text


@given(st.text(min_size=4))
def test_the_text_is_not_in_what_is_stored(text: str) -> None:
    assert text.encode("utf-8", "surrogatepass") not in VAULT.encrypt(text)


def test_equal_secrets_are_not_seen_to_be_equal() -> None:
    assert VAULT.encrypt("same") != VAULT.encrypt("same")


@given(st.text(), st.data())
def test_a_changed_byte_is_noticed(text: str, data: st.DataObject) -> None:
    stored = bytearray(VAULT.encrypt(text))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(HudError, match="does not decrypt"):
        VAULT.decrypt(bytes(stored))


@given(st.binary(max_size=40))
def test_what_was_never_encrypted_is_refused(blob: bytes) -> None:
    with pytest.raises(HudError, match="does not decrypt"):
        VAULT.decrypt(blob)


def test_another_key_does_not_decrypt() -> None:
    with pytest.raises(HudError, match="does not decrypt"):
        Vault(os.urandom(32)).decrypt(VAULT.encrypt("secret"))


def test_the_key_is_a_file_of_the_owner_alone_and_stays(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    stored = open_vault(folder).encrypt("secret")

    assert folder.encryption_key.stat().st_mode & 0o777 == 0o600
    assert folder.keys.stat().st_mode & 0o777 == 0o700
    assert open_vault(folder).decrypt(stored) == "secret"


@pytest.mark.parametrize("content", ["", "00", "not hexadecimal", "é" * 64], ids=["empty", "short", "text", "accents"])
def test_a_damaged_key_is_named_and_not_replaced(tmp_path: Path, content: str) -> None:
    folder = open_folder(tmp_path / "data")
    folder.encryption_key.write_text(content)

    with pytest.raises(HudError, match=r"encryption\.key"):
        open_vault(folder)
    assert folder.encryption_key.read_text() == content

"""Secrets at rest: encrypted under a key that is a file of the data folder and never in the database."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hud import files
from hud.errors import HudError

if TYPE_CHECKING:
    from hud_platform.storage.data_folder import DataFolder

__all__ = ["Vault", "open_vault"]

_KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"  # of the format, first in every encrypted value: AES-256-GCM, nonce, ciphertext and tag


class Vault:
    """Encrypts and decrypts with one key; a value that was changed does not decrypt."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._signing_key = hmac.digest(key, b"signatures", "sha256")  # never one key for two purposes

    def sign(self, text: str) -> str:
        """Give a signature that only this vault can make: 64 hexadecimal digits (HMAC-SHA-256)."""
        return hmac.digest(self._signing_key, text.encode(), "sha256").hex()

    def encrypt(self, text: str) -> bytes:
        """Give `text` encrypted; twice the same text gives different bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        data = text.encode("utf-8", "surrogatepass")
        return _VERSION + nonce + self._cipher.encrypt(nonce, data, _VERSION)

    def decrypt(self, blob: bytes) -> str:
        """Give the text of what `encrypt` gave.

        Raises:
            HudError: it was encrypted under another key, or is damaged.
        """
        nonce, data = blob[1 : 1 + _NONCE_BYTES], blob[1 + _NONCE_BYTES :]
        try:
            if blob[:1] != _VERSION or len(nonce) < _NONCE_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(nonce, data, _VERSION).decode("utf-8", "surrogatepass")
        except InvalidTag:
            raise HudError(
                "a stored secret does not decrypt under the platform's encryption key",
                hint="restore keys/encryption.key of the data folder from a backup",
            ) from None


def open_vault(folder: DataFolder) -> Vault:
    """Open the vault of a data folder; the first time makes its key (mode 0600).

    Raises:
        HudError: the key's file is damaged, or cannot be read or made.
    """
    path = folder.encryption_key
    try:
        if not path.exists():
            files.replace(path, f"{os.urandom(_KEY_BYTES).hex()}\n".encode(), mode=0o600)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (ValueError, OSError) as error:
        raise HudError(
            f"{path} cannot be read as an encryption key: {error}", hint="restore it from a backup"
        ) from error
    if len(key) != _KEY_BYTES:
        raise HudError(f"{path} holds {len(key)} bytes of key, not {_KEY_BYTES}", hint="restore it from a backup")
    return Vault(key)

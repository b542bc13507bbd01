"""What never travels, whatever an ignore file says: credentials, by their names, and what the tools themselves keep.

Left out is what surely holds a secret of its owner; a `server.pem` or a `settings.json` may be meant for the image.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["OWN_FOLDERS", "is_credential"]

OWN_FOLDERS = frozenset({".git", ".hud"})
"""History and link files: no secrets of their own, so that leaving them out is not worth a word."""

# In the words of .gitignore: files or folders of these names, at any depth.
_NAMES = (
    r"\.env",  # the first three are the public service's rule
    r"\.env\..*",
    r".*\.env",
    r"\.envrc",
    r"\.netrc",
    r"_netrc",
    r"\.pypirc",
    r"\.pgpass",
    r"\.git-credentials",
    r"\.vault-token",
    r"\.boto",
    r"\.s3cfg",
    r"\.aws",
    r"\.azure",
    r"\.gnupg",
    r"\.ssh",
    r".*\.ppk",  # a private key of PuTTY
    r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?(?:[._-].*)?(?<!\.pub)",
    r"application_default_credentials\.json",
)
_PATHS = (r"\.docker/config\.json", r"\.kube/config", r"\.config/gcloud", r"\.config/gh/hosts\.yml")

# Some file systems take .ENV for .env.
_name = re.compile("|".join(_NAMES), re.IGNORECASE | re.DOTALL).fullmatch
_path = re.compile(rf"(?:.*/)?(?:{'|'.join(_PATHS)})", re.IGNORECASE | re.DOTALL).fullmatch
_LAST_PARTS = frozenset({"config.json", "config", "gcloud", "hosts.yml"})

# `registry=…` and `${NPM_TOKEN}` are for everybody to read.
_npm_secret = re.compile(rb"^[^#;=\n]*_(?:authToken|auth|password)[ \t]*=[ \t]*[\"']?(?!\$\{)[^\s\"']", re.MULTILINE)


def is_credential(root: Path, path: str, name: str) -> bool:
    """Whether a file or folder of a tree holds credentials, by its name; an `.npmrc` is read for a token.

    Args:
        path: Relative to `root`, with slashes.
        name: The last part of `path`.
    """
    if _name(name):
        return True
    if name.lower() in _LAST_PARTS:
        return _path(path) is not None
    return name == ".npmrc" and _holds_npm_token(root / path)


def _holds_npm_token(file: Path) -> bool:
    try:
        return _npm_secret.search(file.read_bytes()) is not None
    except OSError:  # a folder of that name, or one that reading will complain about
        return False

"""A TLS context that reads the certificate authorities when a connection needs them.

They take as long to read as all the rest of a command's client, and in vain for a platform on this machine. Without
them a context trusts nobody, so a way past the reading would refuse and not accept.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any

__all__ = ["LateContext"]


class LateContext(ssl.SSLContext):
    """What `httpx` makes by itself, later: the authorities are those of SSL_CERT_FILE, SSL_CERT_DIR, or certifi's."""

    _is_loaded = False

    def __new__(cls) -> LateContext:
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        if sys.version_info >= (3, 13):  # as `ssl.create_default_context` does there
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        return context

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Begin TLS on a socket."""
        self._load()
        return super().wrap_socket(*arguments, **options)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin TLS inside of TLS, as through a proxy."""
        self._load()
        return super().wrap_bio(*arguments, **options)

    def _load(self) -> None:
        if self._is_loaded:
            return
        if file := os.environ.get("SSL_CERT_FILE"):
            self.load_verify_locations(cafile=file)
        elif folder := os.environ.get("SSL_CERT_DIR"):
            self.load_verify_locations(capath=folder)
        else:
            import certifi

            self.load_verify_locations(cafile=certifi.where())
        self._is_loaded = True

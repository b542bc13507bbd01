"""HTTPS with authorities that are read late: who is not known is refused."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hud.errors import UnreachableError
from hud.http import Http
from hud.tls import LateContext


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing goes to a test's output."""


def certificate(path: Path, host: str) -> None:
    """Write a certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(tz=datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(params=["127.0.0.1"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTPS server on the loopback address, and the file with its certificate for the host of the parameter."""
    file = tmp_path / "server.pem"
    certificate(file, request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    listener = HTTPServer(("127.0.0.1", 0), Handler)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{listener.server_port}", file
    listener.shutdown()
    listener.server_close()
    thread.join()


def get(url: str) -> int:
    http = Http(retry_limit_s=0)
    try:
        return http.request("GET", url).status
    finally:
        http.close()


def test_a_server_that_an_authority_of_the_environment_vouches_for_is_trusted(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, file = server
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert get(url) == 200


def test_a_server_that_nobody_knows_is_refused(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(UnreachableError, match="certificate verify failed") as caught:
        get(server[0])
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


@pytest.mark.parametrize("server", ["127.0.0.2"], indirect=True)
def test_a_certificate_of_another_host_is_refused(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server[1]))
    with pytest.raises(UnreachableError, match="IP address mismatch"):
        get(server[0])


def test_authorities_that_are_not_there_are_named(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone"))
    with pytest.raises(UnreachableError, match="no such file"):
        get(server[0])


def test_the_context_asks_as_much_as_pythons_own() -> None:
    late, default = LateContext(), ssl.create_default_context()
    assert (late.check_hostname, late.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert late.verify_flags == default.verify_flags
    assert late.minimum_version == default.minimum_version
    assert late.options == default.options

"""The record of one capability, as `hello` publishes it (control-channel specification, section 7.1)."""

from __future__ import annotations

from hud.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Capability"]

_MCP_TRANSPORTS = {"ws": "websocket", "wss": "websocket", "http": "streamable-http", "https": "streamable-http"}
_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}


class Capability:
    """A named address that speaks a known protocol, reached by clients through the one control port.

    Immutable: replace one by publishing another under the same name.

    Attributes:
        name: Unique in an environment.
        protocol: Family and version, such as `ssh/2` or `cdp/1.3`.
        url: Where the daemon listens, as seen from the environment.
        params: What a client needs beside the address (keys, tokens, a contract); JSON values.
    """

    __slots__ = ("name", "params", "protocol", "url")

    name: str
    protocol: str
    url: str
    params: Mapping[str, Any]

    def __init__(self, name: str, protocol: str, url: str, params: Mapping[str, Any] | None = None) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "protocol", protocol)
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "params", dict(params or {}))

    def __setattr__(self, attribute: str, _value: object) -> None:
        raise AttributeError(f"a capability is immutable: publish another instead of setting {attribute!r}")

    def __repr__(self) -> str:
        return f"Capability(name={self.name!r}, protocol={self.protocol!r}, url={self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Capability) and self.to_manifest() == other.to_manifest()

    __hash__ = None  # type: ignore[assignment]  # params may hold lists

    @property
    def family(self) -> str:
        """The protocol without its version: `ssh` of `ssh/2`."""
        return self.protocol.partition("/")[0]

    def to_manifest(self) -> dict[str, Any]:
        """Give the binding as it stands in the `hello` result."""
        return {"name": self.name, "protocol": self.protocol, "url": self.url, "params": dict(self.params)}

    @classmethod
    def from_manifest(cls, binding: Mapping[str, Any]) -> Capability:
        """Read a binding; unknown keys are ignored and `params` may be missing or null (CC-55)."""
        return cls(binding["name"], binding["protocol"], binding["url"], binding.get("params") or {})

    @classmethod
    def ssh(
        cls,
        *,
        name: str = "shell",
        url: str,
        user: str = "agent",
        host_pubkey: str,
        client_key: str | None = None,
        client_key_path: str | None = None,
        shell: str | None = None,
        cwd: str | None = None,
        isolation: str | None = None,
    ) -> Capability:
        """Declare a shell behind an SSH server.

        Args:
            host_pubkey: The server's key as one OpenSSH line; clients check it.
            client_key: The private key's text. Preferred over `client_key_path`, which only same-host clients can read.
            shell: `bash`, `powershell` or `cmd`; `bash` when not given.
            cwd: The absolute directory in which sessions begin.
            isolation: `bwrap` or `none`: what really confines a session.
        """
        params = {
            "user": user,
            "host_pubkey": host_pubkey,
            "shell": shell or "bash",
            "client_key": client_key,
            "client_key_path": client_key_path,
            "cwd": cwd,
            "isolation": isolation,
        }
        return cls(name, "ssh/2", _address(url, "ssh", 22), {k: v for k, v in params.items() if v is not None})

    @classmethod
    def mcp(
        cls, *, name: str = "tools", url: str, auth_token: str | None = None, transport: str | None = None
    ) -> Capability:
        """Declare an MCP tool server.

        Raises:
            UsageError: the URL's scheme is not ws, wss, http or https, or does not carry `transport`.
        """
        url = _address(url, "ws", None)
        scheme = url.partition("://")[0]
        natural = _MCP_TRANSPORTS.get(scheme)
        if natural is None:
            raise UsageError(f"an MCP server is reached over ws, wss, http or https, not {scheme!r}")
        url = _address(url, scheme, _DEFAULT_PORTS[scheme])
        if transport is None:
            transport = natural
        elif (transport == "websocket") != (natural == "websocket") or transport not in (
            "websocket",
            "streamable-http",
            "sse",
        ):
            raise UsageError(f"transport {transport!r} does not run over {scheme}://")
        params = {"transport": transport}
        if auth_token is not None:
            params["auth_token"] = auth_token
        return cls(name, "mcp/2025-11-25", url, params)

    @classmethod
    def cdp(cls, *, name: str = "browser", url: str, target_id: str | None = None) -> Capability:
        """Declare a browser behind the Chrome DevTools Protocol (ws or http)."""
        params = {} if target_id is None else {"target_id": target_id}
        return cls(name, "cdp/1.3", _address(url, "ws", 9222), params)

    @classmethod
    def rfb(cls, *, name: str = "screen", url: str, password: str | None = None, display: int = 0) -> Capability:
        """Declare a screen behind a VNC server; the default port is 5900 + `display`."""
        params: dict[str, Any] = {"display": display}
        if password is not None:
            params["password"] = password
        return cls(name, "rfb/3.8", _address(url, "rfb", 5900 + display), params)

    @classmethod
    def robot(cls, *, name: str = "robot", url: str, contract: Mapping[str, Any]) -> Capability:
        """Declare a robot or simulator over the openpi loop; `contract` says its type, rate and features."""
        return cls(name, "openpi/0", _address(url, "ws", 9091), {"contract": dict(contract)})


def _address(url: str, scheme: str, port: int | None) -> str:
    """Fill in what a short address leaves out: the scheme, and a port unless `port` is None."""
    if not url:
        raise UsageError("a capability needs an address", hint="pass url='host:port'")
    if "://" not in url:
        url = f"{scheme}://{url}"
    if port is None:
        return url
    head, _, rest = url.partition("://")
    end = min((i for i in (rest.find(c) for c in "/?#") if i >= 0), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    host = authority.rpartition("@")[2]
    has_port = host.rpartition(":")[2].isdigit() and not host.endswith("]") and ":" in host
    return url if has_port else f"{head}://{authority}:{port}{tail}"

"""Logins through a browser: a device asks for a code, a person approves it with a key, the device fetches its own.

Source: RFC 8628; platform API specification, section 16.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Row, func, select

from hud.errors import HudError, NotFoundError
from hud.platform.records import DeviceCode, Scope
from hud_platform.access import keys
from hud_platform.storage.tables import api_keys, device_logins
from hud_platform.web.refusals import Forbidden, TooMany
from hud_platform.web.times import aware, now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from hud_platform.access.keys import Caller

__all__ = ["DeviceError", "begin", "decide", "fetch", "pending", "purge"]

_LIFETIME_S = 900
_INTERVAL_S = 2
_SLACK_S = 0.5  # what a client's clock and the network may take from the interval
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words (RFC 8628, section 6.1)
_CODE_LENGTH = 8
_MOST_PENDING = 1000
_LONGEST_NAME = 100

Word = Literal["authorization_pending", "slow_down", "access_denied", "expired_token"]


class DeviceError(HudError):
    """What a device that polls is told (RFC 8628, section 3.5).

    Attributes:
        word: The error code.
    """

    def __init__(self, word: Word, message: str) -> None:
        super().__init__(message)
        self.word = word


async def begin(connection: AsyncConnection, *, client_name: str, url: str) -> DeviceCode:
    """Begin a login for a device that calls itself `client_name`.

    Args:
        url: The platform's address, as people open it.

    Raises:
        TooMany: a thousand logins wait for somebody already.
    """
    await purge(connection)
    if (await connection.scalar(select(func.count()).select_from(device_logins)) or 0) >= _MOST_PENDING:
        raise TooMany("too many logins wait to be approved", retry_after_s=30)
    device_code, user_code = secrets.token_urlsafe(32), _new_user_code()
    started = now()
    values = {
        "device_code_hash": _hash(device_code),
        "user_code": user_code,
        "client_name": _shown(client_name),
        "state": "pending",
        "created_at": started,
        "expires_at": started + timedelta(seconds=_LIFETIME_S),
    }
    await connection.execute(device_logins.insert().values(**values))
    return DeviceCode(
        device_code=device_code,
        user_code=f"{user_code[:4]}-{user_code[4:]}",
        verification_uri=f"{url}/device",
        verification_uri_complete=f"{url}/device?code={user_code[:4]}-{user_code[4:]}",
        expires_in=_LIFETIME_S,
        interval=_INTERVAL_S,
    )


async def fetch(connection: AsyncConnection, device_code: str) -> str | DeviceError:
    """Give the device its key, once; or what it has to be told instead, which is noted down too."""
    found = select(device_logins).where(device_logins.c.device_code_hash == _hash(device_code))
    row = (await connection.execute(found)).one_or_none()
    if row is None or row.state == "taken" or aware(row.expires_at) <= now():
        return DeviceError("expired_token", "the login is unknown, was used, or has expired")
    if row.state == "denied":
        return DeviceError("access_denied", "the login was denied in the browser")
    if row.state == "pending":
        return await _poll(connection, row)
    approver = await connection.scalar(
        select(api_keys.c.id).where(api_keys.c.id == row.approved_by, api_keys.c.revoked_at.is_(None))
    )
    if approver is None:
        return DeviceError("access_denied", "the key that approved the login was revoked meanwhile")
    minted = await keys.mint(connection, name=f"login {row.client_name}", scope=row.scope)
    await connection.execute(_change(row, state="taken"))
    return minted.key


async def pending(connection: AsyncConnection, user_code: str) -> Row[Any]:
    """Give the login that waits under a code, however it is written.

    Raises:
        NotFoundError: none does; the message says no more than that.
    """
    letters = "".join(letter for letter in user_code.upper() if letter.isalnum())
    found = select(device_logins).where(device_logins.c.user_code == letters, device_logins.c.state == "pending")
    row = (await connection.execute(found)).one_or_none()
    if row is None or aware(row.expires_at) <= now():
        raise NotFoundError("no login waits under this code", hint="codes last 15 minutes; hud login shows a new one")
    return row


async def decide(connection: AsyncConnection, user_code: str, *, approver: Caller, scope: Scope | None) -> str:
    """Approve the login under a code with a scope, or deny it with None, and give the device's name.

    Raises:
        NotFoundError: no login waits under this code.
        Forbidden: the approver's key may only read, or may less than the scope.
    """
    if not approver.may("write"):
        raise Forbidden(f"the key {approver.name!r} may only read, and approving a login needs 'write'")
    if scope is not None and not approver.may(scope):
        raise Forbidden(f"the key {approver.name!r} may {approver.scope!r}, and cannot give {scope!r}")
    row = await pending(connection, user_code)
    state = "denied" if scope is None else "approved"
    await connection.execute(_change(row, state=state, scope=scope, approved_by=approver.key_id))
    name: str = row.client_name
    return name


async def purge(connection: AsyncConnection) -> int:
    """Remove logins that are over, and give how many."""
    gone = await connection.execute(device_logins.delete().where(device_logins.c.expires_at <= now()))
    return gone.rowcount


async def _poll(connection: AsyncConnection, row: Row[Any]) -> DeviceError:
    is_early = row.polled_at is not None and (now() - aware(row.polled_at)).total_seconds() < _INTERVAL_S - _SLACK_S
    await connection.execute(_change(row, polled_at=now()))
    if is_early:
        return DeviceError("slow_down", f"ask every {_INTERVAL_S} s")
    return DeviceError("authorization_pending", "nobody has approved the login yet")


def _change(row: Row[Any], **values: object) -> Any:
    return device_logins.update().where(device_logins.c.device_code_hash == row.device_code_hash).values(**values)


def _new_user_code() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LENGTH))


def _shown(name: str) -> str:
    """Make a device's own name fit for a list: what does not print, such as text that runs backwards, goes."""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:_LONGEST_NAME] or "unnamed"


def _hash(device_code: str) -> bytes:
    return hashlib.sha256(device_code.encode("utf-8", "surrogatepass")).digest()

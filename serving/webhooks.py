"""What a webhook is: which URLs it may go to, how it is signed, and when it is tried again. Sends nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import socket
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr
from standardwebhooks import Webhook

from serving.addresses import is_public
from serving.errors import InvalidParameter
from serving.settings import Settings

FIELD = "webhook_url"
_HOST = re.compile(rb"[\w.-]+|[0-9a-fA-F:.]+")
MAX_CHARACTERS = 2048
PREFIX = "whsec_"
DELIVERIES = 10
"""After so many that failed, an event is dead: about 23 hours after its job's end."""
FIRST_RETRY_S, GROWTH, LONGEST_RETRY_S = 5.0, 4.0, 8 * 3600.0


def check_url(url: str, settings: Settings) -> None:
    """Refuse a URL that no webhook may go to, by what can be seen in it.

    No name is resolved here: a submission does not wait for somebody's name server, and tells nobody what a name
    means inside. That is looked at before each delivery.

    Raises:
        InvalidParameter: naming the field.
    """
    if settings.webhook_secret is None:
        raise _refused("this service sends no webhooks; its operator can set I2V_WEBHOOK_SECRET")
    try:
        parsed = httpx.URL(url[: MAX_CHARACTERS + 1])
        port = 80 if parsed.port is None else parsed.port
        plain = parsed.scheme in ("http", "https") and _HOST.fullmatch(parsed.raw_host) and 0 < port < 2**16
    except (httpx.InvalidURL, ValueError):
        plain = None
    if not plain or len(url) > MAX_CHARACTERS:
        raise _refused(f"give an http or https URL of {MAX_CHARACTERS} characters at most")
    if parsed.userinfo:
        raise _refused("a URL with a user's name or password is not taken")
    if not settings.webhook_private_addresses and _is_inside(parsed.host):
        raise _refused("the address is not public")


def secret_of(master: SecretStr, owner: str) -> str:
    """What an owner's events are signed with: a key's own secret, so that no key can forge another's events.

    Args:
        master: of the settings; it signs itself where there are no keys.
    """
    if owner == "":
        return master.get_secret_value()
    key = base64.b64decode(master.get_secret_value().removeprefix(PREFIX))
    return PREFIX + base64.b64encode(hmac.digest(key, f"webhooks of {owner}".encode(), hashlib.sha256)).decode()


def signed_headers(secret: str, event_id: str, payload: str, now: datetime | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks for one delivery at `now`."""
    moment = datetime.now(UTC) if now is None else now
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, moment, payload),
    }


def retry_in_s(attempt: int) -> float | None:
    """Seconds from the delivery of that number, which failed, to the next; None after the last."""
    if attempt >= DELIVERIES:
        return None
    return float(min(FIRST_RETRY_S * GROWTH ** (attempt - 1), LONGEST_RETRY_S))


def _is_inside(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        # Also as "127.1" or "0x7f000001", which resolvers understand.
        return not is_public(ipaddress.IPv4Address(socket.inet_aton(name)))
    except OSError:
        return False


def _refused(why: str) -> InvalidParameter:
    return InvalidParameter(f"{FIELD}: {why}.", param=FIELD)

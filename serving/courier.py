"""Delivers webhooks from the outbox: signed, to checked addresses alone, and again until the receiver has them.

Any number of couriers may share an outbox, and any may die at any moment. Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from pydantic import SecretStr

from serving import fault_points
from serving.addresses import NotPublic, public_addresses
from serving.errors import I2VError
from serving.jobs.outbox import OF_ONE_OWNER, Event, Outbox
from serving.logs import about
from serving.metrics import UNMEASURED, WEBHOOKS, Metrics
from serving.webhooks import retry_in_s, secret_of, signed_headers

logger = logging.getLogger(__name__)
AT_ONCE = 32
POLL_S = 0.5
TIMEOUT_S = 15.0
CONNECT_S = 5.0
PORTS = {"http": 80, "https": 443}
GONE = 410
Resolve = Callable[[str, int], tuple[str, ...]]


class Courier:
    """Run it in a thread and an event loop of its own: receivers choose how long their names take to resolve."""

    def __init__(
        self,
        outbox: Outbox,
        secret: SecretStr,
        *,
        lease_s: float,
        private_addresses: bool = False,
        metrics: Metrics = UNMEASURED,
        resolve: Resolve = public_addresses,
    ) -> None:
        """
        Args:
            secret: of the settings; `webhooks.secret_of` derives the owners' from it.
            lease_s: how long an event is this courier's; one delivery takes half of it at most.
            resolve: gives the addresses that may be called, or raises `NotPublic`.
        """
        self._outbox = outbox
        self._secret = secret
        self._lease_s = lease_s
        self._timeout_s = min(TIMEOUT_S, lease_s / 2)
        self._resolve = any_addresses if private_addresses else resolve
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(AT_ONCE, "resolve")

    async def run(self) -> None:
        """Deliver what is due, for ever."""
        under_way: dict[asyncio.Task[None], str] = {}
        # One for all: to read the certificates takes a while.
        trusted = httpx.create_ssl_context()
        while True:
            of = Counter(under_way.values())
            crowded = [owner for owner, count in of.items() if count >= OF_ONE_OWNER]
            try:
                events = await asyncio.to_thread(self._outbox.take, AT_ONCE - len(under_way), self._lease_s, crowded)
            except I2VError as error:
                logger.warning("no webhooks: %s", error.message)
                events = ()
            for event in events:
                task = asyncio.create_task(self._deliver(event, trusted))
                under_way[task] = event.owner
                task.add_done_callback(under_way.pop)
            await asyncio.sleep(POLL_S)

    async def _deliver(self, event: Event, trusted: ssl.SSLContext) -> None:
        with about(event.job_id):
            status, error = await self._send(event, trusted)
            fault_points.reach("webhooks.sent")
            retry_s = None if status == GONE else retry_in_s(event.attempt)
            outcome = "delivered" if error is None else "dead" if retry_s is None else "failed"
            said = {"event": event.id, "attempt": event.attempt, "receiver": httpx.URL(event.url).host}
            level = logging.INFO if error is None else logging.WARNING
            logger.log(level, "webhook %s%s", outcome, f": {error}" if error else "", extra=said)
            self._metrics.add(WEBHOOKS, outcome=outcome)
            try:
                if error is None:
                    await asyncio.to_thread(self._outbox.delivered, event)
                else:
                    await asyncio.to_thread(self._outbox.failed, event, error, retry_s)
            except I2VError as trouble:
                # It will be due again, and its receiver knows its id.
                logger.warning("webhook not noted: %s", trouble.message, extra=said)

    async def _send(self, event: Event, trusted: ssl.SSLContext) -> tuple[int | None, str | None]:
        """The receiver's status where there is one, and what was wrong where something was."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(event, trusted)
        except TimeoutError:
            return None, f"no answer within {self._timeout_s:g} s"
        except NotPublic:
            return None, "the address is not public, or there is none"
        except (httpx.HTTPError, OSError) as error:
            return None, f"no answer: {type(error).__name__}"
        except Exception as error:
            # Whatever it is, it must come to an end after so many deliveries.
            logger.exception("webhook")
            return None, f"could not be sent: {type(error).__name__}"
        # A redirect is no success either: it would lead to an address that nobody has checked.
        return status, None if 200 <= status < 300 else f"answered {status}"

    async def _post(self, event: Event, trusted: ssl.SSLContext) -> int:
        url = httpx.URL(event.url)
        name, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        loop = asyncio.get_running_loop()
        addresses = await loop.run_in_executor(self._threads, self._resolve, name, port)
        headers = signed_headers(secret_of(self._secret, event.owner), event.id, event.payload)
        headers |= {"host": url.netloc.decode("ascii"), "user-agent": "i2v-serve"}
        # The connection is made to the address that was checked; the name stands in the header and the handshake.
        extensions = {"sni_hostname": name}
        # No proxy of the environment's, which would resolve the name again, and no connection that is kept: one made
        # for another name could be taken for this one's, as both are known by the address.
        timeout = httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s))
        async with httpx.AsyncClient(verify=trusted, trust_env=False, timeout=timeout) as client:
            for address in addresses:
                request = client.build_request(
                    "POST",
                    url.copy_with(host=address),
                    content=event.payload.encode(),
                    headers=headers,
                    extensions=extensions,
                )
                try:
                    response = await client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if address == addresses[-1]:
                        raise
                    continue
                await response.aclose()
                return response.status_code
        raise NotPublic


def any_addresses(host: str, port: int) -> tuple[str, ...]:
    """The addresses of `host`, public or not; as `public_addresses`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotPublic(f"{host[:100]!r} has no address.") from error
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))

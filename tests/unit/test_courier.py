"""Webhooks on their way: a real outbox, a real receiver, and a courier that is killed."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import SecretStr
from receiver import Receiver
from sqlalchemy import update

from serving import courier
from serving.addresses import NotPublic
from serving.courier import Courier
from serving.jobs.job import NewJob
from serving.jobs.outbox import OF_ONE_OWNER
from serving.jobs.store import JobStore, open_store
from serving.jobs.tables import webhooks
from serving.metrics import WEBHOOKS
from serving.testing import InMemoryMetrics
from serving.webhooks import DELIVERIES, FIRST_RETRY_S, secret_of

MASTER = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
Make = Callable[..., NewJob]


@pytest.fixture
def end(sqlite_store: JobStore, new_job: Make) -> Callable[..., str]:
    """Completes a job with a webhook to `url`; its id."""

    def complete(url: str, owner: str = "") -> str:
        job_id = sqlite_store.insert(new_job(owner=owner, webhook_url=url)).id
        job = sqlite_store.claim("default", "i2vgen-xl", "card", 30.0)
        assert job is not None
        assert sqlite_store.complete(job.id, job.attempt, {})
        return job_id

    return complete


def row(store: JobStore) -> Any:
    return store._database.read(lambda c: c.execute(webhooks.select()).one())


def make_due(store: JobStore) -> None:
    due = update(webhooks).where(webhooks.c.ended_at.is_(None)).values(next_at=time.time() - 1)
    store._database.write(lambda c: c.execute(due))


def run(store: JobStore, until: Callable[[], object], **options: Any) -> InMemoryMetrics:
    """Let a courier work until something is so."""
    metrics = InMemoryMetrics()
    options = {"lease_s": 30.0, "private_addresses": True, **options}

    async def work() -> None:
        working = asyncio.create_task(Courier(store.outbox, MASTER, metrics=metrics, **options).run())
        async with asyncio.timeout(120):
            while not until():
                await asyncio.sleep(0.02)
        working.cancel()

    asyncio.run(work())
    return metrics


def attempts(store: JobStore, number: int) -> Callable[[], bool]:
    """Whether that many deliveries have ended."""
    return lambda: row(store).attempt >= number and (row(store).error is not None or row(store).ended_at is not None)


@pytest.mark.parametrize("owner", ["", "key_shop"])
def test_the_openai_client_unwraps_what_arrives(sqlite_store: JobStore, end: Callable[..., str], owner: str) -> None:
    with Receiver() as receiver:
        job_id = end(f"{receiver.url}?token=a%20b", owner)
        metrics = run(sqlite_store, lambda: row(sqlite_store).ended_at)
    (got,) = receiver.got
    client = openai.OpenAI(api_key="none", webhook_secret=secret_of(MASTER, owner))
    event = client.webhooks.unwrap(got.body, got.headers)
    assert (event.type, event.object) == ("video.completed", "event")  # type: ignore[comparison-overlap]
    assert json.loads(got.body)["data"] == {"id": job_id}
    assert event.id == got.headers["webhook-id"] == row(sqlite_store).id
    assert got.path == "/hook?token=a%20b"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    assert metrics.value(WEBHOOKS, outcome="delivered") == 1
    other = openai.OpenAI(api_key="none", webhook_secret=secret_of(MASTER, "key_other"))
    with pytest.raises(openai.InvalidWebhookSignatureError):
        other.webhooks.unwrap(got.body, got.headers)


@pytest.mark.parametrize("status", [500, 404, 302, 307])
def test_what_is_not_taken_is_sent_again_under_its_id(
    sqlite_store: JobStore, end: Callable[..., str], status: int
) -> None:
    """Redirects are not followed: they could lead anywhere."""
    with Receiver() as elsewhere, Receiver([status, 200], location=elsewhere.url) as receiver:
        end(receiver.url)
        before = time.time()
        metrics = run(sqlite_store, attempts(sqlite_store, 1))
        assert row(sqlite_store).error == f"answered {status}"
        assert before + FIRST_RETRY_S <= row(sqlite_store).next_at <= time.time() + FIRST_RETRY_S
        make_due(sqlite_store)
        run(sqlite_store, lambda: row(sqlite_store).ended_at)
    assert elsewhere.got == []
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len(receiver.got) == 2
    assert row(sqlite_store).error is None
    assert metrics.value(WEBHOOKS, outcome="failed") == 1


def test_after_the_last_delivery_it_is_dead(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    with Receiver([503]) as receiver:
        end(receiver.url)
        sqlite_store._database.write(lambda c: c.execute(update(webhooks).values(attempt=DELIVERIES - 1)))
        metrics = run(sqlite_store, lambda: row(sqlite_store).ended_at)
    assert (row(sqlite_store).error, row(sqlite_store).attempt) == ("answered 503", DELIVERIES)
    assert metrics.value(WEBHOOKS, outcome="dead") == 1


def test_a_receiver_that_is_gone_is_not_asked_again(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    with Receiver([410]) as receiver:
        end(receiver.url)
        run(sqlite_store, lambda: row(sqlite_store).ended_at)
    assert (row(sqlite_store).error, row(sqlite_store).attempt) == ("answered 410", 1)


def test_a_slow_receiver_is_given_up(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    given_up = threading.Event()
    with Receiver(before_answering=lambda: given_up.wait(120)) as receiver:
        end(receiver.url)
        run(sqlite_store, attempts(sqlite_store, 1), lease_s=1.0)
        given_up.set()
    assert row(sqlite_store).error == "no answer within 0.5 s"


def test_one_owner_s_receivers_hold_up_no_other_owner(
    sqlite_store: JobStore, end: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "AT_ONCE", OF_ONE_OWNER + 1)
    silent, late = threading.Event(), threading.Event()
    with Receiver(before_answering=lambda: silent.wait(300)) as slow, Receiver() as quick:
        for _ in range(OF_ONE_OWNER + 3):
            end(slow.url, "slow")
        end(quick.url, "quick")

        def both_were_quick() -> bool:
            # The second one comes when all that may wait for the slow receiver do.
            if len(slow.got) == OF_ONE_OWNER and not late.is_set():
                late.set()
                end(quick.url, "quick")
            return len(quick.got) == 2

        run(sqlite_store, both_were_quick)
        assert len(slow.got) == OF_ONE_OWNER
        silent.set()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "[::ffff:127.0.0.1]"])
def test_no_connection_is_made_to_an_address_inside(sqlite_store: JobStore, end: Callable[..., str], host: str) -> None:
    """Names are resolved at delivery too: what was public when the video was submitted may not be so any more."""
    with Receiver() as receiver:
        end(f"http://{host}:{receiver.port}/")
        run(sqlite_store, attempts(sqlite_store, 1), private_addresses=False)
    assert receiver.connections == 0
    assert row(sqlite_store).error == "the address is not public, or there is none"


def test_a_name_that_changes_its_address_is_asked_once(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    """Rebinding: the address that was checked is the one that is called, whatever the name says a moment later."""
    answers: list[str] = []

    def resolve(host: str, port: int) -> tuple[str, ...]:
        answers.append(host)
        return ("127.0.0.1",) if len(answers) == 1 else ("127.0.0.2",)

    with Receiver() as receiver:
        end(f"http://rebinding.test:{receiver.port}/hook")
        run(sqlite_store, lambda: row(sqlite_store).ended_at, private_addresses=False, resolve=resolve)
    assert answers == ["rebinding.test"]
    assert receiver.got[0].headers["host"] == f"rebinding.test:{receiver.port}"


def test_the_next_address_is_tried_where_one_does_not_answer(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    with Receiver() as receiver:
        end(f"http://two.test:{receiver.port}/hook")
        addresses = ("127.0.0.9", "127.0.0.1")
        run(
            sqlite_store,
            lambda: row(sqlite_store).ended_at,
            private_addresses=False,
            resolve=lambda *_: addresses,
        )
    assert len(receiver.got) == 1


def test_a_name_without_an_address_is_tried_again_later(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    def resolve(host: str, port: int) -> tuple[str, ...]:
        raise NotPublic

    end("http://nowhere.test/")
    run(sqlite_store, attempts(sqlite_store, 1), private_addresses=False, resolve=resolve)
    assert row(sqlite_store).ended_at is None


@pytest.mark.parametrize(("name", "trusted"), [("hook.test", True), ("other.test", True), ("hook.test", False)])
def test_tls_is_by_the_name_though_the_address_is_called(
    sqlite_store: JobStore,
    end: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trusted: bool,
) -> None:
    certificate, server = certified("hook.test", tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Receiver(tls=server) as receiver:
        end(f"https://{name}:{receiver.port}/hook")
        resolve = {"private_addresses": False, "resolve": lambda *_: ("127.0.0.1",)}
        run(sqlite_store, attempts(sqlite_store, 1), **resolve)
    good = trusted and name == "hook.test"
    assert len(receiver.got) == int(good)
    assert (row(sqlite_store).error is None) is good


def test_an_event_that_cannot_be_sent_at_all_comes_to_an_end(sqlite_store: JobStore, end: Callable[..., str]) -> None:
    end("http://127.0.0.1:1/")
    sqlite_store._database.write(lambda c: c.execute(update(webhooks).values(url="weird://", attempt=DELIVERIES - 1)))
    run(sqlite_store, lambda: row(sqlite_store).ended_at)
    assert "could not be sent" in row(sqlite_store).error


KILLED = """
import asyncio, sys
from pydantic import SecretStr
from serving.courier import Courier
from serving.jobs.store import open_store
courier = Courier(open_store(sys.argv[1]).outbox, SecretStr(sys.argv[2]), lease_s=30.0, private_addresses=True)
asyncio.run(courier.run())
"""


def test_a_courier_that_is_killed_after_sending_sends_again_under_the_same_id(
    sqlite_store: JobStore, sqlite_url: str, end: Callable[..., str], tmp_path: Path
) -> None:
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "webhooks.sent").write_text("kill")
    with Receiver() as receiver:
        end(receiver.url)
        command = [sys.executable, "-c", KILLED, sqlite_url, MASTER.get_secret_value()]
        environment = os.environ | {"I2V_FAULT_POINTS": str(faults), "PYTHONPATH": ":".join(filter(None, sys.path))}
        assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == -9
        assert len(receiver.got) == 1
        with closing(open_store(sqlite_url)) as other:
            # Nobody else has it before its lease is over.
            assert other.outbox.take(1, 30.0) == ()
        make_due(sqlite_store)
        run(sqlite_store, lambda: row(sqlite_store).ended_at)
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert row(sqlite_store).error is None


def certified(name: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for `name`, and a server's context with it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return certificate, context

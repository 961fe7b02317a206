"""Where webhooks may go, what signs them, when they are tried again."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime

import openai
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from serving.errors import ConfigurationInvalid, InvalidParameter
from serving.settings import Settings, load_settings
from serving.webhooks import DELIVERIES, check_url, retry_in_s, secret_of, signed_headers

MASTER = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
PUBLIC = [
    "https://example.com/hook",
    "http://example.com:8080/a?b=c",
    "https://93.184.216.34/",
    "https://[2606:4700:4700::1111]/x",
    "https://b\u00fccher.example/hook",
]
INSIDE = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8000/hook",
    "http://localhost/hook",
    "http://LOCALHOST./hook",
    "http://a.localhost/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://2130706433/",
]
NO_URL = [
    "",
    "example.com/hook",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://",
    "http:///x",
]
NO_URL += ["http://example.com:0/", "http://example.com:99999/", "http://user@example.com/", "http://a:b@example.com/"]
NO_URL += ["https://example.com/" + "x" * 2048, "http://exa mple.com/", "http://[::1"]


def settings(**args: object) -> Settings:
    return load_settings({"webhook_secret": MASTER.get_secret_value(), **args})


@pytest.mark.parametrize("url", PUBLIC)
def test_where_webhooks_may_go(url: str) -> None:
    check_url(url, settings())


@pytest.mark.parametrize("url", INSIDE + NO_URL)
def test_where_they_may_not(url: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        check_url(url, settings())
    assert refusal.value.param == "webhook_url"
    assert refusal.value.message.startswith("webhook_url: ")


@pytest.mark.parametrize("url", INSIDE)
def test_inside_where_the_operator_lets_them(url: str) -> None:
    check_url(url, settings(webhook_private_addresses=True))


@pytest.mark.parametrize("url", NO_URL)
def test_no_url_is_none_anywhere(url: str) -> None:
    with pytest.raises(InvalidParameter):
        check_url(url, settings(webhook_private_addresses=True))


def test_without_a_secret_there_are_none() -> None:
    with pytest.raises(InvalidParameter, match="I2V_WEBHOOK_SECRET"):
        check_url("https://example.com/", load_settings())


def test_what_is_signed_both_libraries_verify() -> None:
    payload = json.dumps({"id": "evt_1", "type": "video.completed"})
    for owner in ("", "key_a"):
        secret = secret_of(MASTER, owner)
        headers = signed_headers(secret, "evt_1", payload)
        assert Webhook(secret).verify(payload, headers) == json.loads(payload)
        client = openai.OpenAI(api_key="none", webhook_secret=secret)
        assert client.webhooks.unwrap(payload, headers).id == "evt_1"
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(payload.replace("completed", "failed"), headers)
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(payload, headers | {"webhook-id": "evt_2"})
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(payload, signed_headers(secret, "evt_1", payload, datetime(2020, 1, 1, tzinfo=UTC)))


def test_each_key_has_a_secret_of_its_own() -> None:
    secrets = {secret_of(MASTER, owner) for owner in ("", "key_a", "key_b")}
    assert len(secrets) == 3
    assert secret_of(MASTER, "") == MASTER.get_secret_value()
    assert secret_of(MASTER, "key_a") == secret_of(MASTER, "key_a")
    assert len(b64decode(secret_of(MASTER, "key_a").removeprefix("whsec_"))) == 32


def test_it_is_tried_for_about_a_day() -> None:
    waits = [retry_in_s(attempt) for attempt in range(1, DELIVERIES + 1)]
    assert waits[:3] == [5.0, 20.0, 80.0]
    assert waits[-1] is None
    kept = [wait for wait in waits if wait is not None]
    assert kept == sorted(kept)
    assert 20 < sum(kept) / 3600 < 28


@pytest.mark.parametrize("secret", ["hunter2", "whsec_c2hvcnQ=", "whsec_???", "whsec_" + "QUFB" * 30])
def test_a_bad_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ConfigurationInvalid) as refusal:
        load_settings({"webhook_secret": secret})
    assert refusal.value.message.startswith("webhook_secret: ")
    assert secret not in refusal.value.message


def test_the_secret_is_not_shown() -> None:
    assert "MfKQ" not in repr(settings())

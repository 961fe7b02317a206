"""`i2v keys`: made, listed and revoked in the database that the settings name."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from serving.cli import app
from serving.jobs.store import open_store
from serving.webhooks import secret_of

runner = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("I2V_DATABASE_URL", raising=False)
    monkeypatch.delenv("I2V_DATA_DIR", raising=False)
    return tmp_path


def keys(*words: str) -> Any:
    result = runner.invoke(app, ["keys", *words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_create_list_revoke(folder: Path) -> None:
    made = keys("create", "shop")
    keys("create", "press")
    with closing(open_store(f"sqlite:///{folder}/data/jobs.sqlite3")) as store:
        shop, press = store.keys.every()
        assert shop.opened_by(made["key"])
        assert (made["id"], made["name"], made["revoked_at"]) == (shop.id, "shop", None)
        assert keys("revoke", "press")["revoked_at"] is not None
        listed = keys("list")
        assert [(row["name"], row["revoked_at"] is None) for row in listed] == [("shop", True), ("press", False)]
        assert made["key"] not in json.dumps(listed)
        assert store.keys.every()[1].id == press.id


def test_bounds_of_a_key(folder: Path) -> None:
    keys("create", "shop", "--rate", "60/minute", "--daily-gpu-seconds", "3600")
    (row,) = keys("list")
    assert (row["rate"], row["daily_gpu_s"], row["gpu_seconds_today"]) == ("60/minute", 3600.0, 0.0)
    assert "0 of 3600" in runner.invoke(app, ["keys", "list"], env={"COLUMNS": "200"}).stdout


def test_in_plain_text_the_key_alone_is_on_standard_output() -> None:
    created = runner.invoke(app, ["keys", "create", "shop"])
    assert created.stdout.startswith("i2v_")
    assert len(created.stdout.split()) == 1
    assert "jobs.sqlite3" in created.stderr
    assert "shop" in runner.invoke(app, ["keys", "list"]).stdout
    assert "is revoked" in runner.invoke(app, ["keys", "revoke", "shop"]).stdout


def test_the_deployment_file_says_which_database(folder: Path) -> None:
    document = f"applications: [{{args: {{data_dir: {folder}/elsewhere}}}}]"
    (folder / "serve_config.yaml").write_text(document)
    keys("create", "shop")
    assert (folder / "elsewhere" / "jobs.sqlite3").is_file()
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("words", "code", "param"),
    [
        (["create", "a b"], "invalid_parameter", "name"),
        (["create", "shop", "--rate", "often"], "invalid_parameter", "rate"),
        (["revoke", "nobody"], "not_found", "name"),
    ],
)
def test_errors_name_the_field(words: list[str], code: str, param: str) -> None:
    result = runner.invoke(app, ["keys", *words, "--json"])
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["param"]) == (code, param)


def test_a_file_that_is_no_deployment_is_one_clear_error(folder: Path) -> None:
    (folder / "serve_config.yaml").write_text("- 1")
    result = runner.invoke(app, ["keys", "list", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "configuration_invalid"


def test_a_key_s_webhook_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    made = keys("create", "shop")
    refused = runner.invoke(app, ["keys", "webhook-secret", "shop", "--json"])
    assert json.loads(refused.stdout)["error"]["code"] == "configuration_invalid"
    master = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setenv("I2V_WEBHOOK_SECRET", master)
    secret = keys("webhook-secret", "shop")["webhook_secret"]
    assert secret == secret_of(SecretStr(master), made["id"]) != master
    assert runner.invoke(app, ["keys", "webhook-secret", "shop"]).stdout.strip() == secret
    unknown = runner.invoke(app, ["keys", "webhook-secret", "press", "--json"])
    assert json.loads(unknown.stdout)["error"]["param"] == "name"

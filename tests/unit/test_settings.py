"""Settings: the environment over the YAML over the defaults; one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.errors import ConfigurationInvalid
from serving.settings import load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("I2V_"):
            monkeypatch.delenv(name)


def test_environment_beats_yaml_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().port == 8000
    assert load_settings({"port": 7860}).port == 7860
    monkeypatch.setenv("I2V_PORT", "9000")
    assert load_settings({"port": 7860}).port == 9000


def test_an_empty_variable_is_as_if_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_MODEL", "")
    assert load_settings().model == "auto"


def test_paths_mean_the_same_to_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"output_dir": "clips"})
    assert settings.output_dir == tmp_path / "clips"
    assert settings.database == f"sqlite:///{tmp_path}/data/jobs.sqlite3"


def test_pools_from_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("I2V_POOLS", '[{"name": "big", "card": "a100-80gb", "label": {"gpu-class": "a100-80gb"}}]')
    (pool,) = load_settings().pools
    assert (pool.name, pool.card, pool.label) == ("big", "a100-80gb", {"gpu-class": "a100-80gb"})


def test_where_pictures_and_outputs_are(tmp_path: Path) -> None:
    here = load_settings({"data_dir": tmp_path / "data", "output_dir": tmp_path / "clips"})
    assert (here.pictures, here.outputs) == (tmp_path / "data", tmp_path / "clips")
    bucket = load_settings({"storage_url": "s3://clips/prod/"})
    assert (bucket.pictures, bucket.outputs) == ("s3://clips/prod", "s3://clips/prod/outputs")


@pytest.mark.parametrize(
    ("args", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 7860}, "http://127.0.0.1:7860"),
        ({"host": "::"}, "http://[::1]:8000"),
        ({"host": "10.0.0.5"}, "http://10.0.0.5:8000"),
        ({"api_url": "https://clips.example/"}, "https://clips.example"),
    ],
)
def test_where_the_page_reaches_the_api(args: dict[str, object], address: str) -> None:
    assert load_settings(args).reached_at == address


def test_days_are_seconds() -> None:
    assert load_settings().retention_s is None
    assert load_settings({"retention_days": 0.5}).retention_s == 43_200
    assert load_settings({"record_days": 0}).record_s == 0


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"port": 0}, "port"),
        ({"colour": "red"}, "colour"),
        ({"pools": []}, "pools"),
        ({"pools": [{"card": "gtx9000"}]}, "pools.0.card"),
        ({"pools": [{"min_replicas": 3, "max_replicas": 2}]}, "pools.0"),
        ({"pools": [{"name": "a"}, {"name": "a"}]}, "pools"),
        ({"output_prefix": "../x"}, "output_prefix"),
        ({"storage_url": "gs://clips"}, "storage_url"),
        ({"storage_url": "s3://clips/../x"}, "storage_url"),
        ({"storage_url": "s3://key:secret@clips"}, "storage_url"),
        ({"retention_days": 0}, "retention_days"),
    ],
)
def test_bad_settings_are_named(args: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load_settings(args)
    assert caught.value.message.startswith(f"{named}: ")

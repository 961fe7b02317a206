"""The cluster's files agree with the code: settings, pools, labels, deployments, times; and with Ray's own schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve._private import constants as serve_constants
from ray.serve.schema import ServeDeploySchema

from deployments.dispatcher import Dispatcher
from deployments.encoder import Encoder
from deployments.generator import Generator
from deployments.ingress import Ingress
from deployments.pools import replica_options
from deployments.preprocessor import Preprocessor
from deployments.ui import Page
from serving.pools import ServedPool
from serving.presets import PUBLISHED, profile_for
from serving.settings import PoolSettings, Settings, load_settings

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "deployments" / "cluster"
README = (CLUSTER / "README.md").read_text()
# Ingress and preprocessor are asked and answer at once; these two are asked for work that may be under way.
JOB_S, ENCODING_S = (deployment._deployment_config.graceful_shutdown_timeout_s for deployment in (Generator, Encoder))
SETTINGS = {f"I2V_{name.upper()}" for name in Settings.model_fields}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


@pytest.fixture
def service() -> dict[str, Any]:
    (found,) = [document for document in documents("rayservice.yaml") if document["kind"] == "RayService"]
    spec: dict[str, Any] = found["spec"]
    return spec


@pytest.fixture
def application(service: dict[str, Any]) -> dict[str, Any]:
    return named(service, "i2v")


@pytest.fixture
def page(service: dict[str, Any]) -> dict[str, Any]:
    return named(service, "ui")


def named(service: dict[str, Any], name: str) -> dict[str, Any]:
    applications = yaml.safe_load(service["serveConfigV2"])["applications"]
    return dict(next(application for application in applications if application["name"] == name))


@pytest.fixture
def settings(application: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return load_settings(application["args"])


@pytest.fixture
def groups(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {group["groupName"]: group for group in service["rayClusterConfig"]["workerGroupSpecs"]}


def container(group: dict[str, Any]) -> dict[str, Any]:
    (found,) = group["template"]["spec"]["containers"]
    return dict(found)


def drain_s(group: dict[str, Any]) -> int:
    command = " ".join(container(group)["lifecycle"]["preStop"]["exec"]["command"])
    found = re.search(r"--deadline-remaining-seconds (\d+)", command)
    assert found is not None
    return int(found[1])


def grace_s(group: dict[str, Any]) -> int:
    return int(group["template"]["spec"]["terminationGracePeriodSeconds"])


def pools_and_groups(
    settings: Settings, groups: dict[str, dict[str, Any]]
) -> Iterator[tuple[PoolSettings, dict[str, Any]]]:
    for pool in settings.pools:
        (group,) = [group for group in groups.values() if group["labels"].items() >= (pool.label or {}).items()]
        yield pool, group


def test_ray_takes_the_serve_configuration(service: dict[str, Any]) -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"]))
    assert [application.import_path for application in schema.applications] == [
        "deployments.app:build",
        "deployments.ui:build",
    ]


def test_ray_takes_the_cluster_of_bare_machines() -> None:
    (config,) = documents("ray-cluster.yaml")
    validate_config(prepare_config(config))
    for kind in ("head", "worker"):
        (start,) = [line for line in config[f"{kind}_start_ray_commands"] if "ray start" in line]
        assert "export I2V_KERNEL_CACHE_DIR=" in start


def test_a_pool_has_a_group_of_its_label_and_size(settings: Settings, groups: dict[str, dict[str, Any]]) -> None:
    assert [pool.name for pool in settings.pools] == ["rtx4090", "a100"]
    for pool, group in pools_and_groups(settings, groups):
        assert group["groupName"] == pool.card
        assert (group["minReplicas"], group["maxReplicas"]) == (pool.min_replicas, pool.max_replicas)
        assert pool.min_replicas == 0
        # A pod has as many cards as one replica takes.
        served = ServedPool(pool, PUBLISHED, profile_for(PUBLISHED))
        asked = replica_options(served, gpus=0)["ray_actor_options"]
        assert container(group)["resources"]["limits"]["nvidia.com/gpu"] == asked["num_gpus"]
        assert group["labels"] == asked["label_selector"]


def test_labels_are_where_the_autoscaler_reads_them(service: dict[str, Any], groups: dict[str, dict[str, Any]]) -> None:
    for group in (service["rayClusterConfig"]["headGroupSpec"], *groups.values()):
        assert "labels" not in group["rayStartParams"]


def test_the_stages_without_a_card_have_pods_of_their_own(
    application: dict[str, Any], page: dict[str, Any], groups: dict[str, dict[str, Any]]
) -> None:
    deployments = application["deployments"] + page["deployments"]
    pinned = {deployment["name"]: deployment["ray_actor_options"] for deployment in deployments}
    stages = (Ingress, Preprocessor, Dispatcher, Encoder, Page)
    assert set(pinned) == {stage.name for stage in stages}
    for stage in stages:
        # The file's options replace the code's.
        assert pinned[stage.name] == stage.ray_actor_options | {"label_selector": groups["cpu"]["labels"]}
    assert groups["cpu"]["minReplicas"] >= 1


def test_pods_outlive_the_longest_job(
    service: dict[str, Any], settings: Settings, groups: dict[str, dict[str, Any]]
) -> None:
    cards = [group for _, group in pools_and_groups(settings, groups)]
    for group in cards:
        assert grace_s(group) > drain_s(group) > JOB_S
    # The encoder is asked to stop so long before its node's deadline: by then every card must have handed over.
    assert drain_s(groups["cpu"]) - ENCODING_S >= max(drain_s(group) for group in cards)
    assert grace_s(groups["cpu"]) > drain_s(groups["cpu"])
    assert grace_s(service["rayClusterConfig"]["headGroupSpec"]) > max(grace_s(group) for group in groups.values())


def test_every_variable_is_a_setting(service: dict[str, Any], groups: dict[str, dict[str, Any]]) -> None:
    named = {
        variable["name"]
        for group in (service["rayClusterConfig"]["headGroupSpec"], *groups.values())
        for variable in container(group)["env"]
    }
    for text in (README, (CLUSTER / "Dockerfile").read_text(), *(p.read_text() for p in CLUSTER.glob("*.yaml"))):
        named |= set(re.findall(r"\b(?:I2V|RAY_SERVE)_[A-Z_]+\b", text))
    assert {name for name in named if name.startswith("I2V_")} <= SETTINGS
    assert {"I2V_DATABASE_URL", "I2V_STORAGE_URL"} <= named
    known = Path(serve_constants.__file__).read_text()
    assert [name for name in named if name.startswith("RAY_SERVE_") and f'"{name}"' not in known] == []


def test_workers_are_ready_when_the_service_is(groups: dict[str, dict[str, Any]]) -> None:
    for group in groups.values():
        assert container(group)["readinessProbe"]["exec"]["command"][-1].endswith(":8000/readyz")


def test_every_file_that_the_readme_names_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (CLUSTER / target).exists(), target


def test_the_edge_takes_what_the_service_takes() -> None:
    found = re.search(r"client_max_body_size (\d+)m;", README)
    assert found is not None
    assert int(found[1]) * 2**20 == Settings.model_fields["max_upload_bytes"].default

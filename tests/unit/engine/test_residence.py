"""Modules come and go; torch's meta device stands for the card."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from serving.engine.modules import Modules
from serving.engine.pipeline import Pipeline
from serving.engine.residence import Residence

META = torch.device("meta")


@pytest.fixture
def modules(pipeline: Pipeline) -> Modules:
    """One of them of two layers."""
    two = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).to("meta")
    return dataclasses.replace(pipeline.modules, vae=two)


@pytest.fixture
def residence(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> Residence:
    # What is on the meta device has no numbers to bring back.
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, device: module.to_empty(device=device))
    return Residence(modules, META)


def places(module: Any) -> set[str]:
    return {parameter.device.type for parameter in module.parameters()}


def test_a_module_leaves_once_and_comes_back(residence: Residence, modules: Modules) -> None:
    residence.bring("vae")
    assert places(modules.vae) == {"meta"}
    assert residence.send_away("vae")
    assert places(modules.vae) == {"cpu"}
    assert not residence.send_away("vae")
    residence.bring("vae")
    assert places(modules.vae) == {"meta"}


def test_a_move_that_ran_out_of_memory_is_finished_by_the_next(
    residence: Residence, modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    residence.send_away("vae")
    whole = torch.nn.Module.to

    def half(module: Any, device: torch.device) -> None:
        whole(module[0], device)
        raise torch.OutOfMemoryError

    with monkeypatch.context() as short:
        short.setattr(torch.nn.Module, "to", half)
        with pytest.raises(torch.OutOfMemoryError):
            residence.bring("vae")
    assert places(modules.vae) == {"cpu", "meta"}
    residence.bring("vae")
    assert places(modules.vae) == {"meta"}


def test_where_the_device_is_the_cpu_nothing_leaves(pipeline: Pipeline) -> None:
    assert not Residence(pipeline.modules, torch.device("cpu")).send_away("text_encoder", "vae")

"""Emulated cards: busy for as long as the cost model says, without a card, without weights and without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from deployments.pools import decide, replica_options
from serving.doctor import Level, examine
from serving.engine.link import Door
from serving.errors import Cancelled, ConfigurationInvalid
from serving.parameters import VideoParameters
from serving.pools import ServedPool
from serving.presets import EMULATED, I2VGEN_XL
from serving.request import VideoRequest, resolve
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import seconds, shared_stage_seconds, speed_of, stage_seconds, tflop
from serving.settings import PoolSettings, Settings, load_settings
from serving.testing import EmulatedPipeline

PICTURE = Image.new("RGB", (512, 512))
POOLS = [
    {"name": "small", "card": "rtx4090", "label": {"gpu-class": "rtx4090"}},
    {"name": "big", "card": "a100-80gb", "model": "emulated"},
]


def request(seed: int = 0, **fields: object) -> VideoRequest:
    return resolve(VideoParameters(prompt="pan left", **fields), I2VGEN_XL, seed=seed)  # type: ignore[arg-type]


def emulated(**changes: object) -> Settings:
    return load_settings({"model": EMULATED, "pools": POOLS, **changes})


def still() -> float:
    return 0.0


def test_it_sleeps_what_the_cost_model_says_step_by_step() -> None:
    slept: list[float] = []
    told: list[tuple[int, int]] = []
    card = CARDS["rtx4090"]
    asked = request(preset="standard")
    EmulatedPipeline(I2VGEN_XL, card, slept.append, still).generate(
        PICTURE, asked, on_step=lambda *step: told.append(step)
    )
    assert told == [(step, 50) for step in range(1, 51)]
    assert len(slept) == 50 + 2
    assert sum(slept) == pytest.approx(seconds(asked.shape, I2VGEN_XL.cost, card.tflops))


def test_what_it_is_late_by_is_made_up_for() -> None:
    """Each sleep half a step too long, and a quarter of one spent on its news: the clip takes no longer for it."""
    card, asked, now = CARDS["rtx4090"], request(preset="standard"), 100.0
    step_s = stage_seconds(asked.shape, I2VGEN_XL.cost, speed_of(card.tflops, I2VGEN_XL.cost))["denoise"] / 50

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    pipeline = EmulatedPipeline(I2VGEN_XL, card, lambda wanted: spend(wanted + step_s / 2), lambda: now)
    clip = pipeline.generate(PICTURE, asked, on_step=lambda step, steps: spend(step_s / 4))
    expected = seconds(asked.shape, I2VGEN_XL.cost, card.tflops)
    # But for the last sleep, after which there is nothing to make up with.
    assert now - 100.0 == pytest.approx(expected + step_s / 2)
    assert sum(clip.timings.values()) == pytest.approx(now - 100.0)


def test_a_cancel_ends_it_before_the_next_step() -> None:
    slept: list[float] = []
    pipeline = EmulatedPipeline(I2VGEN_XL, CARDS["h100"], slept.append)
    with pytest.raises(Cancelled):
        pipeline.generate(PICTURE, request(), should_stop=lambda: len(slept) == 1 + 3)
    assert len(slept) == 1 + 3


class Lost(Exception):
    pass


@pytest.mark.parametrize("last", [20, 50])
def test_two_of_them_share_a_clip_for_as_long_as_both_are_there(last: int) -> None:
    card, asked, slept = CARDS["h100"], request(), list[float]()

    def count(halves: int) -> None:
        if halves == last:
            raise Lost

    with Door("127.0.0.1") as door, ThreadPoolExecutor(1) as pool:

        def help_once() -> None:
            with door.accept(20, lambda: False) as link:
                EmulatedPipeline(I2VGEN_XL, card).assist(link, asked, on_half=count)

        helped = pool.submit(help_once)
        clip = EmulatedPipeline(I2VGEN_XL, card, slept.append, still).generate(PICTURE, asked, meeting=door.meeting)
        assert isinstance(helped.exception(20), Lost)
    assert (len(slept), clip.shared_steps) == (50 + 2, last)
    speed = speed_of(card.tflops, I2VGEN_XL.cost)
    alone, shared = (
        law(asked.shape, I2VGEN_XL.cost, speed)["denoise"] for law in (stage_seconds, shared_stage_seconds)
    )
    assert slept[1] == pytest.approx(shared / 50)
    assert slept[-2] == pytest.approx((shared if last == 50 else alone) / 50)


def test_the_seed_decides_the_frames() -> None:
    pipeline = EmulatedPipeline(I2VGEN_XL, CARDS["h100"], lambda _: None)
    one, again, other = (pipeline.generate(PICTURE, request(seed, num_frames=9)).frames for seed in (1, 1, 2))
    assert (one.shape, one.dtype) == ((9, 64, 64, 3), np.uint8)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_its_memory_is_the_classs() -> None:
    asked = request(preset="extreme", aspect_ratio="1:1")
    plans = {name: EmulatedPipeline(I2VGEN_XL, CARDS[name]).plan_for(asked).name for name in ("rtx3060", "a100-80gb")}
    assert plans == {"rtx3060": "offload-chunked", "a100-80gb": "resident"}
    assert EmulatedPipeline(I2VGEN_XL, CARDS["rtx4090"]).card.memory_bytes == 24 * 2**30


def test_a_speed_divides_the_work_and_not_the_memory() -> None:
    usual, fast = (decide(emulated(emulation_speed=speed), gpus=0)[0].profile.cost for speed in (1, 20))
    shape = request().shape
    assert tflop(shape, fast) == pytest.approx(tflop(shape, usual) / 20)
    assert fast.tflop_decode == pytest.approx(usual.tflop_decode / 20)
    assert fast.activation_gib == usual.activation_gib


def test_its_replicas_take_no_gpu_and_keep_their_label() -> None:
    small, big = decide(emulated(), gpus=1)
    options: dict[str, object] = replica_options(small, gpus=1)["ray_actor_options"]
    assert options == {"num_cpus": 0.01, "label_selector": {"gpu-class": "rtx4090"}}
    assert replica_options(big, gpus=1)["ray_actor_options"] == {"num_cpus": 0.01}
    real = ServedPool(small.settings, "builtin", small.profile)
    assert replica_options(real, gpus=1)["ray_actor_options"] == {
        "num_gpus": 1,
        "num_cpus": 0,
        "label_selector": {"gpu-class": "rtx4090"},
    }


def test_a_replica_that_renders_on_the_cpu_has_one_heap() -> None:
    cpu = ServedPool(PoolSettings(card="cpu"), "builtin", I2VGEN_XL)
    assert replica_options(cpu, gpus=1)["ray_actor_options"]["runtime_env"]["env_vars"] == {"MALLOC_ARENA_MAX": "1"}


@pytest.mark.parametrize("card", ["auto", "cpu"])
def test_an_emulated_pool_names_its_class(card: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="pool default: name the card class"):
        load_settings({"pools": [{"card": card, "model": EMULATED}]})


def test_the_doctor_asks_for_no_weights_for_them() -> None:
    settings = load_settings({"model": "/nowhere", "pools": [{**pool, "model": EMULATED} for pool in POOLS]})
    (weights,) = [finding for finding in examine(settings) if finding.check == "weights"]
    assert (weights.level, weights.detail) == (Level.OK, "emulated cards need none")


def test_a_replica_of_one_imports_no_pytorch() -> None:
    code = "import sys, deployments.generator, serving.testing; sys.exit(int('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Two cards and one clip: the frames of the plan that takes the halves in sequence, whatever becomes of the second.

Each card is a pipeline of its own over the same small random weights, on a real connection; the second one runs in a
thread, or in a process where it is to die.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from serving.engine import link, partner
from serving.engine.link import Door, LinkLost, Meeting, connect
from serving.engine.pipeline import Pipeline
from serving.engine.replay import Replay
from serving.engine.weights import Weights
from serving.errors import Cancelled
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS

MakeRequest = Callable[..., VideoRequest]
SEQUENTIAL = next(plan for plan in PLANS if plan.sequential)
STEPS = 4


class Interrupted(Exception):
    pass


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no lost card."""
    monkeypatch.setattr(partner, "LATE_S", 120.0)
    monkeypatch.setattr(link, "SILENCE_S", 120.0)


@pytest.fixture
def second(pipeline: Pipeline) -> Pipeline:
    return Pipeline(pipeline.weights, pipeline.modules, pipeline.device)


@pytest.fixture
def expected(pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest) -> np.ndarray:
    return pipeline.generate(picture, make_request(num_inference_steps=STEPS), plan=SEQUENTIAL).frames


@contextmanager
def assisting(
    pipeline: Pipeline,
    request: VideoRequest,
    on_half: Callable[[int], object] = lambda halves: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Meeting, Future[int]]]:
    """Where a second card waits, and what comes of its help."""
    with Door("127.0.0.1") as door, ThreadPoolExecutor(1) as pool:

        def help_once() -> int:
            with door.accept(120, should_stop) as link:
                return pipeline.assist(link, request, on_half=on_half, should_stop=should_stop)

        yield door.meeting, pool.submit(help_once)


def test_two_cards_give_the_frames_of_halves_in_sequence(
    pipeline: Pipeline, second: Pipeline, picture: Image.Image, make_request: MakeRequest, expected: np.ndarray
) -> None:
    told: list[tuple[int, int]] = []
    done: list[int] = []
    request = make_request(num_inference_steps=STEPS)
    with assisting(second, make_request(), done.append) as (meeting, helped):
        clip = pipeline.generate(picture, request, meeting=meeting, on_step=lambda *step: told.append(step))
        assert helped.result(120) == STEPS
    assert np.array_equal(clip.frames, expected)
    assert (clip.shared_steps, clip.plan) == (STEPS, "resident")
    assert told == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert done == [1, 2, 3, 4]
    together = pipeline.generate(picture, request)
    assert together.shared_steps == 0
    assert np.abs(clip.frames.astype(int) - together.frames).max() <= 1  # another batch size rounds otherwise


def test_the_second_card_is_free_when_decoding_begins(
    pipeline: Pipeline,
    second: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = partner.Partner.leave
    with assisting(second, make_request()) as (meeting, helped):

        def leave(self: partner.Partner) -> None:
            whole(self)
            helped.result(120)

        monkeypatch.setattr(partner.Partner, "leave", leave)
        monkeypatch.setattr(
            "serving.engine.decoding.decode", lambda *_: pytest.fail("kept") if not helped.done() else 0
        )
        pipeline.generate(picture, make_request(), meeting=meeting)


@pytest.mark.parametrize("halves", range(1, STEPS + 1))
def test_a_second_card_that_is_lost_at_any_step_changes_nothing(
    pipeline: Pipeline,
    second: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    expected: np.ndarray,
    halves: int,
) -> None:
    def fail(done: int) -> None:
        if done == halves:
            raise Interrupted

    with assisting(second, make_request(), fail) as (meeting, helped):
        clip = pipeline.generate(picture, make_request(num_inference_steps=STEPS), meeting=meeting)
        with pytest.raises(Interrupted):
            helped.result(120)
    assert clip.shared_steps == halves
    assert np.array_equal(clip.frames, expected)


def test_a_second_card_that_falls_silent_is_given_up(
    pipeline: Pipeline,
    second: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    expected: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partner, "LATE_S", 0.3)
    over = threading.Event()
    with assisting(second, make_request(), lambda halves: halves == 2 and over.wait(120)) as (meeting, helped):
        clip = pipeline.generate(picture, make_request(num_inference_steps=STEPS), meeting=meeting)
        over.set()
        with pytest.raises(LinkLost):
            helped.result(120)
    assert clip.shared_steps == 2
    assert np.array_equal(clip.frames, expected)


def test_a_second_card_that_is_not_there_is_not_waited_for(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    with Door("127.0.0.1") as door:
        meeting = door.meeting
    clip = pipeline.generate(picture, make_request(), meeting=meeting)
    assert clip.shared_steps == 0
    # As if nobody had been named: both halves at once.
    assert np.array_equal(clip.frames, pipeline.generate(picture, make_request()).frames)


def test_a_second_card_with_other_weights_is_refused(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, expected: np.ndarray
) -> None:
    other = Weights(pipeline.weights.name, pipeline.weights.folder, "another revision", pipeline.weights.profile)
    with assisting(Pipeline(other, pipeline.modules, pipeline.device), make_request()) as (meeting, helped):
        clip = pipeline.generate(picture, make_request(num_inference_steps=STEPS), meeting=meeting)
        with pytest.raises(LinkLost, match="another revision"):
            helped.result(120)
    assert clip.shared_steps == 0
    assert np.array_equal(clip.frames, expected)


ANSWERS = {
    "nothing": b"",
    "noise": b"{}" * 40,
    "another shape": bytes(2),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_second_card_that_answers_something_else_is_given_up(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, expected: np.ndarray, answer: bytes
) -> None:
    with Door("127.0.0.1") as door, ThreadPoolExecutor(1) as pool:

        def answer_once() -> None:
            with door.accept(20, lambda: False) as link:
                for _ in range(2):
                    link.receive(20, lambda: False)
                link.send(answer)

        answering = pool.submit(answer_once)
        clip = pipeline.generate(picture, make_request(num_inference_steps=STEPS), meeting=door.meeting)
        answering.result(120)
    assert clip.shared_steps == 0
    assert np.array_equal(clip.frames, expected)


def test_a_cancel_ends_both(
    pipeline: Pipeline, second: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    told: list[int] = []
    with assisting(second, make_request()) as (meeting, helped):
        with pytest.raises(Cancelled):
            pipeline.generate(
                picture,
                make_request(num_inference_steps=STEPS),
                meeting=meeting,
                on_step=lambda step, steps: told.append(step),
                should_stop=lambda: len(told) == 2,
            )
        assert helped.result(120) == 2


def test_a_cancel_does_not_wait_for_a_silent_second_card(
    pipeline: Pipeline,
    second: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    halves: list[int] = []
    over = threading.Event()

    def hang(done: int) -> None:
        halves.append(done)
        over.wait(120)

    with assisting(second, make_request(), hang) as (meeting, helped):
        began = time.monotonic()
        with pytest.raises(Cancelled):
            pipeline.generate(
                picture,
                make_request(num_inference_steps=STEPS),
                meeting=meeting,
                on_step=lambda step, steps: None,
                should_stop=lambda: bool(halves) and time.monotonic() > began + 1,
            )
        assert halves == [1]
        over.set()
        # At most the half that was asked for before; whether it could still be sent is the kernel's to say.
        assert isinstance(helped.exception(120), LinkLost | None)
    assert halves in ([1], [1, 2])


def test_when_the_leader_fails_the_second_card_is_free(
    pipeline: Pipeline, second: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    def fail(step: int, steps: int) -> None:
        raise Interrupted

    with assisting(second, make_request()) as (meeting, helped):
        with pytest.raises(Interrupted):
            pipeline.generate(picture, make_request(num_inference_steps=STEPS), meeting=meeting, on_step=fail)
        assert helped.result(120) == 1


def test_a_second_card_that_is_to_stop_stops_while_it_waits(second: Pipeline, make_request: MakeRequest) -> None:
    over = threading.Event()
    with assisting(second, make_request(), should_stop=over.is_set) as (meeting, helped), connect(meeting):
        over.set()
        with pytest.raises(Cancelled):
            helped.result(120)


def test_without_guidance_nobody_is_met(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partner, "connect", lambda meeting: pytest.fail("there are no halves to share"))
    with Door("127.0.0.1") as door:
        clip = pipeline.generate(picture, make_request(guidance_scale=1.0), meeting=door.meeting)
    assert clip.shared_steps == 0


def test_a_leader_out_of_memory_goes_on_alone_by_the_next_plan(
    pipeline: Pipeline,
    second: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leader = Pipeline(pipeline.weights, pipeline.modules, pipeline.device)
    unet, calls = leader.replay.unet, []

    def short_of_memory(*args: object) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return type(unet).__call__(unet, *args)  # type: ignore[arg-type]

    class Short:
        def __getattr__(self, name: str) -> object:
            return getattr(unet, name)

        def __call__(self, *args: object) -> torch.Tensor:
            return short_of_memory(*args)

    leader.replay = Replay(Short())  # type: ignore[arg-type]
    with assisting(second, make_request()) as (meeting, helped):
        clip = leader.generate(picture, make_request(), meeting=meeting)
        assert helped.result(120) in (1, 2)
    assert (clip.plan, clip.shared_steps) == ("offload", 0)
    assert np.array_equal(clip.frames, pipeline.generate(picture, make_request()).frames)


SECOND_PROCESS = """
import os, signal, sys, torch
from serving.engine.link import Door
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.request import VideoRequest

torch.set_num_threads(1)
pipeline, request = Pipeline.load(locate(sys.argv[1]), device="cpu"), VideoRequest.model_validate_json(sys.argv[2])
with Door("127.0.0.1") as door:
    print(door.meeting.port, door.meeting.key.hex(), flush=True)
    with door.accept(60, lambda: False) as link:
        pipeline.assist(link, request, on_half=lambda done: done == 2 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_process_that_is_killed_in_the_middle(
    pipeline: Pipeline, model_folder: Path, picture: Image.Image, make_request: MakeRequest, expected: np.ndarray
) -> None:
    request = make_request(num_inference_steps=STEPS)
    command = [sys.executable, "-c", SECOND_PROCESS, str(model_folder), request.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port, key = process.stdout.readline().split()
            meeting = Meeting("127.0.0.1", int(port), bytes.fromhex(key))
            clip = pipeline.generate(picture, request, meeting=meeting)
        finally:
            process.kill()
    assert clip.shared_steps == 2
    assert np.array_equal(clip.frames, expected)

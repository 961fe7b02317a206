"""Pictures in processes of their own: the same answers, and a picture that kills its decoder harms nobody else."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from PIL import Image

from serving.decoder import Decoders, Limits
from serving.errors import AnimatedImage, I2VError, ImageTooLarge, InvalidImage, ServiceUnavailable
from serving.errors import UnsupportedImageFormat as Unsupported
from serving.preprocessing import prepare
from serving.presets import I2VGEN_XL
from serving.request import VideoParameters

PARAMETERS = VideoParameters(prompt="pan left")


def drawn(size: tuple[int, int] = (640, 360), kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize(size).save(file, kind, **options)
    return file.getvalue()


class One:
    """A single decoder, its process, and what it answers."""

    def __init__(self, **limits: Any) -> None:
        self.decoders = Decoders(1, Limits(**limits))

    def __call__(self, data: bytes) -> Any:
        return self.decoders.prepare(data, PARAMETERS, I2VGEN_XL)

    def process(self) -> psutil.Process:
        decoder = self.decoders._idle.get()
        self.decoders._idle.put(decoder)
        return psutil.Process(decoder._process.pid)


@pytest.fixture(scope="module")
def one() -> Iterator[One]:
    made = One()
    yield made
    made.decoders.close()


@pytest.fixture(scope="module")
def big() -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (8192, 7812), (9, 99, 199, 99)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_it_prepares_as_if_it_were_done_here(one: One) -> None:
    assert one(drawn()) == prepare(drawn(), PARAMETERS, I2VGEN_XL)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", InvalidImage),
        (b"GIF89a", Unsupported),
        (drawn()[:400], InvalidImage),
        (drawn(kind="WEBP", save_all=True, append_images=[Image.new("RGB", (640, 360))]), AnimatedImage),
    ],
)
def test_its_refusals_are_the_same_too(one: One, data: bytes, kind: type[I2VError]) -> None:
    with pytest.raises(kind) as here:
        prepare(data, PARAMETERS, I2VGEN_XL)
    process = one.process()
    with pytest.raises(kind) as there:
        one(data)
    assert (there.value.message, there.value.param) == (here.value.message, here.value.param)
    assert one.process() == process


def test_the_largest_legal_picture_is_within_the_limits(one: One, big: bytes) -> None:
    assert one(big).source_size == (8192, 7812)


def test_its_environment_holds_no_secret(one: One, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    one.process().kill()
    one(drawn())
    assert set(one.process().environ()) <= {"PYTHONPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LC_CTYPE"}


def test_a_decoder_that_dies_over_a_picture_is_replaced(big: bytes) -> None:
    one = One()
    one(drawn())
    process = one.process()
    before = process.cpu_times().user

    def kill_at_work() -> None:
        while process.cpu_times().user < before + 0.2:
            time.sleep(0.01)
        process.kill()

    killer = threading.Thread(target=kill_at_work)
    killer.start()
    with pytest.raises(InvalidImage, match="within the limits of time and memory") as refused:
        one(big)
    killer.join()
    assert refused.value.param == "input_reference"
    assert one(drawn()).source_size == (640, 360)
    one.decoders.close()


def test_memory_is_bounded(big: bytes) -> None:
    one = One(memory_bytes=100 * 2**20)
    assert one(drawn()).source_size == (640, 360)
    with pytest.raises((ImageTooLarge, InvalidImage)):
        one(big)
    assert one(drawn()).source_size == (640, 360)
    one.decoders.close()


def test_time_is_bounded(big: bytes) -> None:
    """The kernel ends a decoder that has used up its processor seconds."""
    one = One(cpu_s=0)  # and a second's grace, of which the start has taken a part
    with pytest.raises(InvalidImage, match="within the limits"):
        one(big)
    assert one(drawn()).source_size == (640, 360)
    one.decoders.close()


def test_one_that_does_not_answer_is_replaced_and_no_fault_of_the_picture() -> None:
    one = One(wait_s=5.0)
    process = one.process()
    process.suspend()
    assert one(drawn()).source_size == (640, 360)
    assert one.process() != process
    one.decoders.close()


def test_where_no_decoder_starts_the_picture_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    one = One()
    with pytest.raises(ServiceUnavailable):
        one(drawn())
    one.decoders.close()


def test_decoders_end_with_their_service(one: One) -> None:
    ending = One()
    ending(drawn())
    process = ending.process()
    ending.decoders._idle.get()._ours.close()
    process.wait(10)

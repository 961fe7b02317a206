"""Pictures in processes of their own: the same answers, and a picture that kills its decoder harms nobody else."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import psutil
import pytest
from PIL import Image

from serving.decoder import Decoders, Limits
from serving.errors import AnimatedImage, BadRequest, I2VError, ImageTooLarge, InvalidImage, ServiceUnavailable
from serving.errors import UnsupportedImageFormat as Unsupported
from serving.parameters import VideoParameters
from serving.preprocessing import prepare
from serving.presets import I2VGEN_XL

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


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@cache
def deflated(size: int) -> bytes:
    """`size` zeros, at a thousandth of it."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(2**20)) for _ in range(size // 2**20)), packer.flush()])


def png_with(*before: bytes, width: int = 640, height: int = 360, pixels: bytes | None = None) -> bytes:
    body = zlib.compress(bytes(height * (1 + width * 3))) if pixels is None else pixels
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join((header, *before, chunk(b"IDAT", body), chunk(b"IEND", b"")))


BOMBS = {
    "profile": lambda: png_with(chunk(b"iCCP", b"a\0\0" + deflated(2**28))),
    "text": lambda: png_with(chunk(b"zTXt", b"a\0\0" + deflated(2**28))),
    "many texts": lambda: png_with(*[chunk(b"zTXt", b"a\0\0" + deflated(2**20 - 1))] * 4000),
    "more pixels than said": lambda: png_with(pixels=deflated(2**28)),
    "fewer pixels than said": lambda: png_with(width=8000, height=8000, pixels=deflated(2**20)),
    "sides": lambda: png_with(width=2**31 - 1, height=2**31 - 1, pixels=deflated(2**20)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_or_taken_within_the_limits(one: One, bomb: str) -> None:
    one(drawn())
    process = one.process()
    before = process.cpu_times()
    with contextlib.suppress(InvalidImage, ImageTooLarge):
        one(BOMBS[bomb]())
    assert one.process() == process
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 5
    assert process.memory_info().rss < 400 * 2**20


def test_the_kernel_holds_the_limits(one: One) -> None:
    process = one.process()
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    space, most = process.rlimit(psutil.RLIMIT_AS)
    assert space == most <= process.memory_info().vms + Limits().memory_bytes
    one(drawn())
    spent = process.cpu_times()
    assert process.rlimit(psutil.RLIMIT_CPU)[0] <= spent.user + spent.system + Limits().cpu_s + 2


def test_damaged_files_are_refused_and_the_decoder_lives(one: One) -> None:
    """A seeded set; ten thousand of them left the same decoder alive, at 67 MB."""
    dice = random.Random(5)
    kinds: dict[str, dict[str, Any]] = {"JPEG": {}, "PNG": {}, "WEBP": {}, "BMP": {}, "AVIF": {"speed": 10}}
    whole = [drawn((96, 80), kind, **options) for kind, options in kinds.items()]
    process = one.process()
    taken = 0
    for _ in range(250):
        data = bytearray(dice.choice(whole))
        for _ in range(dice.choice((1, 4, 16))):
            at = dice.randrange(len(data))
            data[at : at + dice.choice((1, 1, 4))] = dice.randbytes(dice.choice((0, 1, 1, 4)))
        with contextlib.suppress(BadRequest, Unsupported):
            one(bytes(data))
            taken += 1
    assert 0 < taken < 250
    assert one.process() == process


def test_decoders_end_with_their_service(one: One) -> None:
    ending = One()
    ending(drawn())
    process = ending.process()
    ending.decoders._idle.get()._ours.close()
    process.wait(120)

"""Pictures prepared in processes of their own, whose memory and time are bounded: a hostile one ends its decoder alone.

A decoder gets no environment, so none of the service's secrets, and can write no file. What comes back from it is read
as JSON and bytes, never unpickled. Knows nothing of HTTP or jobs.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import psutil

from serving import errors
from serving.cautions import Caution
from serving.errors import BadRequest, I2VError, InvalidImage, ServiceUnavailable, UnsupportedMedia
from serving.parameters import VideoParameters
from serving.picture_warnings import FIELD
from serving.preprocessing import Prepared, prepare
from serving.presets import ModelProfile

logger = logging.getLogger(__name__)
TAKEN = b"taken"
HANDOVERS = 2
_HEADER_BYTES, _PPM_BYTES = 2**16, 2**26


@dataclass(frozen=True)
class Limits:
    """Of one decoder."""

    memory_bytes: int = 3 * 2**30
    """Address space beyond what it has when idle."""
    cpu_s: int = 30
    """Processor seconds of one picture."""
    wait_s: float = 90.0
    """So long an answer is waited for, on however busy a machine."""


class Decoders:
    """Some decoders; safe to use from many threads, of which as many as there are decoders work at once."""

    def __init__(self, count: int, limits: Limits = Limits()) -> None:
        self._idle: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(_Decoder(limits))

    def prepare(self, data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        """As `preprocessing.prepare`, with what it raises.

        Raises:
            InvalidImage: also where the picture ended its decoder.
            ServiceUnavailable: no answer in time, though the decoder was not at work all the while.
        """
        decoder = self._idle.get()
        try:
            return decoder.prepare(data, parameters, profile)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get().stop()


class _Decoder:
    """One process, started anew where it has died."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._start()

    def prepare(self, data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        self._hand((data, parameters, profile))
        try:
            if not self._ours.poll(self._limits.wait_s):
                self._restart()
                raise ServiceUnavailable("The picture could not be looked at in time; try again.", retry_after_s=10)
            told = json.loads(self._ours.recv_bytes(_HEADER_BYTES))
            if "prepared" in told:
                width, height, source, warnings = told["prepared"]
                ppm = self._ours.recv_bytes(_PPM_BYTES)
                cautions = tuple(Caution.model_validate(told) for told in warnings)
                return Prepared(ppm, int(width), int(height), (int(source[0]), int(source[1])), cautions)
            error = _error(told)
        except (EOFError, OSError, ValueError, TypeError, KeyError) as broken:
            code = self._restart()
            logger.warning("a picture of %d bytes ended its decoder: exit code %s, %r", len(data), code, broken)
            error = InvalidImage(
                f"{FIELD}: the picture cannot be decoded within the limits of time and memory.", param=FIELD
            )
        raise error

    def _hand(self, work: tuple[bytes, VideoParameters, ModelProfile]) -> None:
        """Returns once the decoder has it: what happens before is no picture's doing."""
        for _ in range(HANDOVERS):
            try:
                self._ours.send(work)
                if self._ours.poll(self._limits.wait_s) and self._ours.recv_bytes(len(TAKEN)) == TAKEN:
                    return
            except (EOFError, OSError):
                pass
            self._restart()
        raise ServiceUnavailable("No picture can be looked at now; try again.", retry_after_s=10)

    def _start(self) -> None:
        self._ours, theirs = Pipe()
        environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            own = theirs.fileno(), self._limits.memory_bytes, self._limits.cpu_s
            self._process = subprocess.Popen(
                # Pillow warns of damaged metadata, and a hostile picture could fill a log with it.
                [sys.executable, "-P", "-W", "ignore", "-m", __name__, *map(str, own)],
                env=environment,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )

    def stop(self) -> int:
        """End it; its exit code."""
        self._process.kill()
        self._ours.close()
        return self._process.wait()

    def _restart(self) -> int:
        code = self._process.poll()
        stopped = self.stop()
        self._start()
        return stopped if code is None else code


def _error(told: dict[str, Any]) -> Exception:
    if "fault" in told:
        return RuntimeError(f"the decoder failed:\n{told['fault']}")
    kind = getattr(errors, str(told["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, BadRequest | UnsupportedMedia)):
        raise ValueError(f"no refusal: {told['error']}")
    return kind(str(told["message"]), param=told["param"])


def main() -> None:
    """The decoder's process: works off what comes through the pipe until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor, memory_bytes, cpu_s = map(int, sys.argv[1:])
    pipe = Connection(descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    space = psutil.Process().memory_info().vms + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    while True:
        try:
            work = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(TAKEN)
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + cpu_s + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        _answer(pipe, work)


def _answer(pipe: Connection, work: tuple[bytes, VideoParameters, ModelProfile]) -> None:
    try:
        found = prepare(*work)
    except I2VError as error:
        told: dict[str, Any] = {"error": type(error).__name__, "message": error.message, "param": error.param}
        pipe.send_bytes(json.dumps(told).encode())
    except Exception:
        pipe.send_bytes(json.dumps({"fault": traceback.format_exc()[-8000:]}).encode())
    else:
        cautions = [caution.model_dump() for caution in found.warnings]
        header = {"prepared": (found.width, found.height, found.source_size, cautions)}
        pipe.send_bytes(json.dumps(header).encode())
        pipe.send_bytes(found.picture)


if __name__ == "__main__":
    main()

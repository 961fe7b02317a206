"""Start-up checks: could the service run here? One clear line each. Knows nothing of Ray beyond its version."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from serving.errors import I2VError, WeightsUnavailable
from serving.presets import BUILTIN, EMULATED, PUBLISHED
from serving.settings import AUTO, Settings
from serving.storage import open_storage

GIB = 2**30
LEAST_MEMORY_GIB = 4
HUB_TIMEOUT_S = 10.0
CARD_MEMORY_GIB = 8  # the least in which 512p/16 fits


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report; `FAIL` means that the service could not run."""

    check: str
    level: Level
    detail: str


def examine(settings: Settings, *, will_listen: bool = True) -> Iterator[Finding]:
    """Every check in turn; a check that breaks is a finding too.

    Args:
        will_listen: whether the port must be free.
    """
    checks: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("python", _python),
        ("torch", _torch),
        ("ray", _ray),
        ("ffmpeg", _ffmpeg),
        ("weights", _weights),
        ("data_dir", lambda s: _writable("data_dir", s.data_dir)),
        ("output_dir" if settings.storage_url is None else "storage_url", _outputs),
        ("kernel_cache_dir", _kernels),
        ("log_dir", lambda s: _writable("log_dir", s.log_dir)),
        ("database", _database),
        ("disk", _disk),
        ("memory", _memory),
    ]
    if will_listen:
        checks.append(("port", lambda s: _port("port", s.host, s.port)))
        if settings.metrics_port is not None:
            metrics_port = settings.metrics_port
            checks.append(("metrics_port", lambda s: _port("metrics_port", "", metrics_port)))
    for name, check in checks:
        try:
            yield check(settings)
        except I2VError as error:
            yield Finding(name, Level.FAIL, error.message)
        except Exception as error:
            yield Finding(name, Level.FAIL, f"{type(error).__name__}: {error}")


def model_of(settings: Settings) -> str:
    """The model setting with "auto" decided by this machine's GPU."""
    return _decided(settings.model)


def models_of(settings: Settings) -> list[str]:
    """The models whose weights the pools need, each once."""
    named = dict.fromkeys(settings.model_for(pool) for pool in settings.pools)
    return list(dict.fromkeys(_decided(model) for model in named if model != EMULATED))


def _decided(model: str) -> str:
    if model != AUTO:
        return model
    import torch

    return PUBLISHED if torch.cuda.is_available() else BUILTIN


def _python(settings: Settings) -> Finding:
    level = Level.OK if sys.version_info >= (3, 11) else Level.FAIL
    return Finding("python", level, f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _torch(settings: Settings) -> Finding:
    import torch

    from serving.engine import kernels

    if not torch.cuda.is_available():
        return Finding("torch", Level.OK, f"{torch.__version__}; no CUDA card: the CPU renders, with torch's kernels")
    card = torch.cuda.get_device_properties(0)
    memory = card.total_memory / GIB
    path = kernels.path(torch.device("cuda"))
    detail = f"{torch.__version__}; {torch.cuda.device_count()} x {card.name}, {memory:.0f} GiB; {path} kernels"
    if path != "triton":
        return Finding("torch", Level.WARN, f"{detail}; Triton is missing, and clips take longer")
    return Finding("torch", Level.OK if memory >= CARD_MEMORY_GIB else Level.WARN, detail)


def _ray(settings: Settings) -> Finding:
    try:
        return Finding("ray", Level.OK, version("ray"))
    except PackageNotFoundError:
        return Finding("ray", Level.FAIL, "not installed; `make install` sets everything up")


def _ffmpeg(settings: Settings) -> Finding:
    import imageio_ffmpeg

    executable = imageio_ffmpeg.get_ffmpeg_exe()
    encoders = subprocess.run(
        [executable, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    missing = [name for name in ("libx264", "libvpx-vp9", "gif") if name not in encoders]
    if missing:
        return Finding("ffmpeg", Level.FAIL, f"{executable} lacks {', '.join(missing)}")
    return Finding("ffmpeg", Level.OK, f"{imageio_ffmpeg.get_ffmpeg_version()} at {executable}")


def _weights(settings: Settings) -> Finding:
    from serving.engine.weights import locate

    level, details = Level.OK, []
    for model in models_of(settings):
        try:
            details.append(f"{model} at {locate(model, settings.revision, download=False).revision}")
        except WeightsUnavailable as error:
            if not _hub_has(model, settings.revision):
                return Finding("weights", Level.FAIL, error.message)
            level = Level.WARN
            details.append(f"{model} is not here yet; the first start downloads it from the hub")
    return Finding("weights", level, "; ".join(details) or "emulated cards need none")


def _hub_has(model: str, revision: str | None) -> bool:
    import huggingface_hub

    try:
        huggingface_hub.HfApi().model_info(model, revision=revision, timeout=HUB_TIMEOUT_S)
    # Not a hub name, no network, no such repository: the reason is in locate's message already.
    except Exception:
        return False
    return True


def _writable(name: str, folder: Path) -> Finding:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"probe")
    return Finding(name, Level.OK, f"{folder} is writable")


def _kernels(settings: Settings) -> Finding:
    from serving.engine import kernel_cache

    finding = _writable("kernel_cache_dir", settings.kernels)
    return replace(finding, detail=f"{finding.detail}; {kernel_cache.kept(settings.kernels)} kernels")


def _database(settings: Settings) -> Finding:
    from serving.jobs.store import open_store

    store = open_store(settings.database)
    try:
        store.ping()
    finally:
        store.close()
    return Finding("database", Level.OK, settings.database.rpartition("@")[2])


def _outputs(settings: Settings) -> Finding:
    if settings.storage_url is None:
        return _writable("output_dir", settings.output_dir)
    storage, key = open_storage(settings.outputs), "probe"
    storage.put_bytes(key, b"probe")
    storage.delete(key)
    return Finding("storage_url", Level.OK, f"{settings.storage_url} is writable")


def _disk(settings: Settings) -> Finding:
    free = open_storage(settings.outputs).free_bytes()
    if free is None:
        return Finding("disk", Level.OK, f"{settings.storage_url} has no bound")
    enough = free >= settings.disk_reserve_bytes
    detail = f"{free / GIB:.1f} GiB free, {settings.disk_reserve_bytes / GIB:.1f} GiB kept in reserve"
    return Finding("disk", Level.OK if enough else Level.FAIL, detail)


def _memory(settings: Settings) -> Finding:
    memory = psutil.virtual_memory()
    level = Level.OK if memory.available >= LEAST_MEMORY_GIB * GIB else Level.WARN
    return Finding("memory", level, f"{memory.available / GIB:.1f} GiB available of {memory.total / GIB:.1f} GiB")


def _port(setting: str, host: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = error.strerror or str(error)
            return Finding(setting, Level.FAIL, f"{host}:{port}: {why}; choose another with I2V_{setting.upper()}")
    return Finding(setting, Level.OK, f"{host}:{port} is free")

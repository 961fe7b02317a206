"""One frozen `Settings`: the environment (`I2V_*`) over serve_config.yaml's `args` over the defaults.

Knows nothing of Ray: what a pool becomes is the deployments' business.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from serving.errors import ConfigurationInvalid
from serving.presets import EMULATED
from serving.scheduling.capacity import HOLD_S
from serving.scheduling.cards import CARDS
from serving.scheduling.preemption import MOST_S

AUTO = "auto"
PAGE = "/ui"
"""Where the web page is."""
DAY_S = 86_400.0
SECRETS = {"webhook_secret"}
Absolute = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


class PoolSettings(BaseModel):
    """One pool: cards of one class that serve one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "default"
    card: str = AUTO
    """A class of `scheduling.cards.CARDS`, "cpu", or "auto": every GPU found, else the CPU."""
    label: dict[str, str] | None = None
    """Ray node labels its cards carry, such as {"gpu-class": "rtx4090"}; any node where left out."""
    min_replicas: int | None = Field(None, ge=0)
    """As many as `max_replicas` where left out; 0 lets the pool fall asleep."""
    max_replicas: int | None = Field(None, ge=1)
    """Where left out: `min_replicas`, at least one, and for an auto pool every GPU found."""
    model: str | None = None
    """Model setting of this pool, where it differs from the service's."""
    start_s: float = Field(60.0, ge=0)
    """Seconds from waking one of its cards to its first job, as forecasts assume; a new node's start included."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", name):
            raise ValueError("use lower-case letters, digits and hyphens")
        return name

    @field_validator("card")
    @classmethod
    def _known_card(cls, card: str) -> str:
        if card != AUTO and card not in CARDS:
            raise ValueError(f"unknown card class; known are {AUTO}, {', '.join(CARDS)}")
        return card

    @model_validator(mode="after")
    def _ordered(self) -> PoolSettings:
        least, most = self.min_replicas, self.max_replicas
        if least is not None and most is not None and most < least:
            raise ValueError("max_replicas is below min_replicas")
        return self


class Settings(BaseSettings):
    """The service's settings. Every field is also the variable `I2V_<FIELD>` (lists and pools as JSON)."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="I2V_", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the API.")
    public_url: str | None = Field(
        None, description="Where users reach the API, for URLs in answers; by default, what their request says."
    )
    page: bool = Field(
        True, description="Whether / leads to the web page at /ui; `i2v serve` leaves the page out where not."
    )
    api_url: str | None = Field(
        None, description="Where the page reaches the API; by default, on its own machine at the host and port above."
    )
    model: str = Field(
        AUTO,
        description='Hub name, local folder, "builtin", or "auto": the published model on CUDA, else the built-in one.',
    )
    revision: str | None = Field(None, description="Hub revision of the model; the newest where left out.")
    pools: tuple[PoolSettings, ...] = Field((PoolSettings(),), min_length=1, description="Pools of cards.")
    data_dir: Absolute = Field(Path("data"), description="Database and pictures.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; a SQLite file in data_dir by default.")
    output_dir: Absolute = Field(Path("outputs"), description="Where clips, posters and recipes are saved.")
    storage_url: str | None = Field(
        None, description='"s3://bucket/prefix" that holds pictures and clips, in place of data_dir and output_dir.'
    )
    kernel_cache_dir: Absolute | None = Field(
        None, description="Where a card's compiled kernels are kept for the next start; kernels in data_dir by default."
    )
    output_prefix: str = Field("video_", description="Prefix of every clip's file name.")
    log_dir: Absolute = Field(Path("logs"), description="One log file a start, and one a job under jobs/.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severity logged.")
    require_keys: bool = Field(False, description="Take no request without an API key, even before one exists.")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of this machine's Ray metrics agent; a free one by default."
    )
    max_upload_bytes: int = Field(32 * 2**20, ge=2**16, description="Largest request body, bytes.")
    body_timeout_s: float = Field(60.0, gt=0, description="Longest wait for a request's body, seconds.")
    picture_urls: bool = Field(
        False, description="Whether pictures are fetched from the public http and https URLs that users name."
    )
    max_waiting_jobs: int = Field(10_000, ge=1, description="Jobs that may wait; beyond, 503.")
    max_waiting_s: float | None = Field(None, gt=0, description="GPU seconds that may wait; beyond, 503.")
    max_owner_s: float | None = Field(None, gt=0, description="GPU seconds of one owner that may wait; beyond, 429.")
    webhook_secret: SecretStr | None = Field(
        None,
        description='"whsec_" and base64 of 24 to 64 random bytes, which sign webhooks; without it there are none.',
    )
    webhook_private_addresses: bool = Field(False, description="Let webhooks go to addresses that are not public.")
    disk_reserve_bytes: int = Field(2**30, ge=0, description="Free disk below which no job is taken, bytes.")
    retention_days: float | None = Field(
        None, gt=0, description="How long a finished video can be downloaded, days; for ever by default."
    )
    record_days: float = Field(
        30.0, ge=0, description="How long an expired video is still known (410, then 404), days."
    )
    lease_s: float = Field(30.0, gt=1, description="How long a silent worker keeps its job, seconds.")
    step_timeout_s: float = Field(
        60.0, gt=0, description="Least time without a denoising step that ends a card's process, seconds."
    )
    max_attempts: int = Field(3, ge=1, description="Crashes of its worker that end a job.")
    target_wait_s: float = Field(60.0, gt=0, description="Pools are sized to do what waits within this, seconds.")
    scale_down_after_s: float = Field(HOLD_S, ge=0, description="How long a card that is not needed is kept, seconds.")
    preempt_s: float = Field(
        MOST_S, ge=0, description="How long a job at work is put off for much shorter ones, in all, seconds; 0: never."
    )
    emulation_speed: float = Field(
        1.0, gt=0, description="How much faster than real ones emulated cards are; for load tests alone."
    )
    cpu_threads: int | None = Field(None, ge=1, description="Threads of a CPU replica; every core by default.")
    preprocessors: int = Field(1, ge=1, description="Replicas of the preprocessing stage.")
    encoders: int = Field(1, ge=1, description="Replicas of the encoding stage.")
    ingress_replicas: int = Field(1, ge=1, description="Replicas of the HTTP stage.")

    @field_validator("output_prefix")
    @classmethod
    def _file_name_part(cls, prefix: str) -> str:
        if not re.fullmatch(r"[\w.-]{0,64}", prefix) or prefix.startswith("."):
            raise ValueError("use letters, digits, underscores, hyphens and dots")
        return prefix

    @field_validator("webhook_secret")
    @classmethod
    def _signing_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            try:
                key = b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)
            except ValueError:
                key = b""
            if not secret.get_secret_value().startswith("whsec_") or not 24 <= len(key) <= 64:
                raise ValueError("use whsec_ and the base64 of 24 to 64 random bytes")
        return secret

    @field_validator("public_url", "api_url")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
            raise ValueError("use https://host or https://host/path")
        return url if url is None else url.rstrip("/")

    @field_validator("storage_url")
    @classmethod
    def _bucket(cls, url: str | None) -> str | None:
        folder = r"/[A-Za-z0-9_-][A-Za-z0-9_.-]*"
        if url is not None and not re.fullmatch(rf"s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]({folder})*/?", url):
            raise ValueError("use s3://bucket or s3://bucket/prefix")
        return url if url is None else url.rstrip("/")

    @field_validator("pools")
    @classmethod
    def _distinct_pools(cls, pools: tuple[PoolSettings, ...]) -> tuple[PoolSettings, ...]:
        names = [pool.name for pool in pools]
        if len(set(names)) != len(names):
            raise ValueError("two pools have one name")
        return pools

    @model_validator(mode="after")
    def _emulated_class(self) -> Settings:
        for pool in self.pools:
            if self.model_for(pool) == EMULATED and pool.card in (AUTO, "cpu"):
                raise ValueError(f"pool {pool.name}: name the card class that it emulates")
        return self

    def model_for(self, pool: PoolSettings) -> str:
        """The pool's own model setting, else the service's."""
        return pool.model or self.model

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'jobs.sqlite3'}"

    @property
    def reached_at(self) -> str:
        """The API's address for the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return self.api_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def kernels(self) -> Path:
        return self.kernel_cache_dir or self.data_dir / "kernels"

    @property
    def pictures(self) -> str | Path:
        """What `open_storage` opens for pictures; it keeps them under pictures/."""
        return self.data_dir if self.storage_url is None else self.storage_url

    @property
    def outputs(self) -> str | Path:
        """What `open_storage` opens for clips, posters and recipes."""
        return self.output_dir if self.storage_url is None else f"{self.storage_url}/outputs"

    @property
    def retention_s(self) -> float | None:
        return None if self.retention_days is None else self.retention_days * DAY_S

    @property
    def record_s(self) -> float:
        return self.record_days * DAY_S

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


def load_settings(args: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `args` (the YAML), overridden by the environment.

    Raises:
        ConfigurationInvalid: naming the first setting at fault, what was given and what is allowed.
    """
    try:
        return Settings(**dict(args or {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        given = "" if where in SECRETS else f" (given: {first['input']!r})"
        raise ConfigurationInvalid(f"{where}: {first['msg']}{given}.") from None


def read_config(path: Path) -> dict[str, Any]:
    """The deployment file's `args` and listening address; empty where there is no file.

    Raises:
        ConfigurationInvalid: the file is something else.
    """
    if not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_text())
        listen = document.get("http_options", {})
        args: dict[str, Any] = {name: listen[name] for name in ("host", "port") if name in listen}
        args.update(document["applications"][0].get("args", {}))
    except (yaml.YAMLError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ConfigurationInvalid(f"{path}: is not a Serve deployment file: {error}") from None
    return args

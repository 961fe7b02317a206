"""What `loadtest.accelerations` measured, as rows and a table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Quality:
    """What the built-in model's evaluation says: moves that are recognised, and PSNR against the true warp, dB."""

    right: int
    clips: int
    first_db: float
    last_db: float


@dataclass(frozen=True)
class Row:
    """One acceleration, or several together, beside the exact clips: medians over the seeds."""

    acceleration: str
    clip: str
    exact_steps: int
    steps: int
    guidance_scale: float
    exact_s: float
    seconds: float | None
    """None where it is emulated."""
    speed_up: float | None
    denoise_speed_up: float | None
    counted_speed_up: float | None
    """Of denoising, by the cost model; None where it does not count."""
    psnr_db: float
    latent_error: float
    exact_quality: Quality | None = None
    quality: Quality | None = None


def table_of(rows: list[Row], title: str) -> Table:
    heads = ("acceleration", "guidance", "steps", "seconds", "faster", "denoising", "by count", "PSNR dB", "latents")
    judged = any(row.quality is not None for row in rows)
    table = Table(*heads, *(("right moves", "last frame dB") if judged else ()), title=title)
    for row in rows:
        cells = [
            row.acceleration,
            f"{row.guidance_scale:g}",
            f"{row.exact_steps} -> {row.steps}",
            f"{row.exact_s:.2f} -> " + ("emulated" if row.seconds is None else f"{row.seconds:.2f}"),
            *(_times(value) for value in (row.speed_up, row.denoise_speed_up, row.counted_speed_up)),
            f"{row.psnr_db:.1f}",
            f"{row.latent_error:.2%}",
        ]
        if row.quality is not None and row.exact_quality is not None:
            was, now = row.exact_quality, row.quality
            cells += [f"{was.right} -> {now.right} of {now.clips}", f"{was.last_db:.1f} -> {now.last_db:.1f}"]
        table.add_row(*cells)
    return table


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} x"

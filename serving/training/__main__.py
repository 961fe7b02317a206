"""`python -m serving.training make|evaluate|demo`: make the built-in model, measure it, draw its demo picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main(arguments: list[str] | None = None) -> None:
    """Run one command; imports wait until it is known, since drawing needs no models."""
    parser = argparse.ArgumentParser(prog="python -m serving.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="train every part and write the folder (about 16 minutes on an H100)")
    make.add_argument("folder", type=Path)
    make.add_argument("--untrained", action="store_true", help="write seeded random weights at once instead")
    make.add_argument("--work", type=Path, default=Path("build/training"), help="where parts are kept to go on from")
    make.add_argument("--photos", type=Path, help="a folder of photographs to learn from besides the drawn pictures")
    make.add_argument("--span", type=float, nargs=2, default=(0.0, 1.0), help="the part of the UNet's schedule to run")
    evaluate = commands.add_parser("evaluate", help="measure every move on pictures never trained on")
    evaluate.add_argument("folder", type=Path, nargs="?")
    evaluate.add_argument("--pictures", type=int, default=3, help="how many drawn pictures, beside the demo picture")
    evaluate.add_argument("--photos", type=Path, help="a folder of photographs to measure on instead")
    evaluate.add_argument("--frames", type=int, default=8)
    evaluate.add_argument("--steps", type=int, default=6)
    evaluate.add_argument("--guidance", type=float, default=1.0)
    evaluate.add_argument("--side", type=int, default=256)
    demo = commands.add_parser("demo", help="draw the demo picture")
    demo.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    {"make": _make, "evaluate": _evaluate, "demo": _demo}[options.command](options)


def _make(options: argparse.Namespace) -> None:
    from serving.training.architecture import build
    from serving.training.folder import write
    from serving.training.recipe import Recipe, cook
    from serving.training.sizing import fit_cost, profile
    from serving.training.vocabulary import learn_tokenizer

    if options.untrained:
        parts = build(learn_tokenizer())
    else:
        parts = cook(Recipe(span=tuple(options.span)), options.work, options.photos)
    write(parts, options.folder)
    text = profile(fit_cost(parts)).model_dump_json(indent=2)
    (options.folder / "profile.json").write_text(text + "\n")


def _evaluate(options: argparse.Namespace) -> None:
    import numpy as np

    from serving.training.demo import draw
    from serving.training.evaluation import evaluate, table
    from serving.training.folder import BUILTIN, read
    from serving.training.pictures import HELD_OUT, photographs, picture

    if options.photos is not None:
        pixels = photographs(options.photos, options.side)
    else:
        pixels = [picture(HELD_OUT + index, options.side) for index in range(options.pictures)]
        pixels.append(np.asarray(draw(options.side)))
    pictures = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    parts = read(options.folder or BUILTIN)
    if torch.cuda.is_available():
        for part in (parts.unet, parts.vae, parts.text_encoder, parts.image_encoder):
            part.to("cuda")
    print(table(evaluate(parts, pictures, frames=options.frames, steps=options.steps, guidance=options.guidance)))


def _demo(options: argparse.Namespace) -> None:
    from serving.training.demo import save

    save(options.file)


if __name__ == "__main__":
    main()

"""`python -m serving.training PART|make|evaluate|demo`: make the built-in model, measure it, draw its demo picture."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from serving.training.recipe import PARTS


def main(arguments: list[str] | None = None) -> None:
    """Run one command; imports wait until it is known, since drawing needs no models."""
    parser = argparse.ArgumentParser(prog="python -m serving.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    work = argparse.ArgumentParser(add_help=False)
    work.add_argument("--work", type=Path, default=Path("build/training"), help="where parts are kept to go on from")
    for part in PARTS:
        commands.add_parser(part, parents=[work], help=f"make the {part}, and what of the other parts it needs")
    make = commands.add_parser("make", parents=[work], help="all parts, and the folder (about 16 minutes on an H100)")
    make.add_argument("folder", type=Path)
    make.add_argument("--untrained", action="store_true", help="write seeded random weights at once instead")
    evaluate = commands.add_parser("evaluate", help="measure every move on pictures and prompts never trained on")
    evaluate.add_argument("folder", type=Path, nargs="?")
    evaluate.add_argument("--drawn", type=int, default=0, help="how many drawn scenes that were never trained on")
    evaluate.add_argument("--products", type=int, default=3, help="how many drawn product shots on plain ground")
    evaluate.add_argument(
        "--photos", action="store_true", help="five photographs too; they come with the training extra"
    )
    evaluate.add_argument("--frames", type=int, default=8)
    evaluate.add_argument("--steps", type=int, default=6)
    evaluate.add_argument("--guidance", type=float, default=1.0)
    evaluate.add_argument("--side", type=int, default=256)
    demo = commands.add_parser("demo", help="draw the demo picture")
    demo.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    {"make": _make, "evaluate": _evaluate, "demo": _demo}.get(options.command, _part)(options)


def _part(options: argparse.Namespace) -> None:
    from serving.training.recipe import Recipe, cook

    cook(Recipe(), options.work, options.command)


def _make(options: argparse.Namespace) -> None:
    from serving.training.architecture import build
    from serving.training.folder import write
    from serving.training.recipe import Recipe, cook
    from serving.training.sizing import fit_cost, profile
    from serving.training.vocabulary import learn_tokenizer

    parts = build(learn_tokenizer()) if options.untrained else cook(Recipe(), options.work)
    write(parts, options.folder)
    text = profile(fit_cost(parts)).model_dump_json(indent=2)
    (options.folder / "profile.json").write_text(text + "\n")


def _evaluate(options: argparse.Namespace) -> None:
    from serving.training import photos
    from serving.training.demo import draw
    from serving.training.evaluation import HEADER, evaluate, line, together
    from serving.training.folder import BUILTIN, read
    from serving.training.pictures import HELD_OUT, picture, product
    from serving.training.unseen import heard_right, prompts

    side = options.side
    pixels = [np.asarray(draw(side))]
    pixels += [picture(HELD_OUT + index, side) for index in range(options.drawn)]
    pixels += [product(HELD_OUT + index, side) for index in range(options.products)]
    if options.photos:
        pixels += [photos.squares(file, side)[0] for file in photos.files(photos.HELD_OUT)]
    pictures = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    parts = read(options.folder or BUILTIN)
    if torch.cuda.is_available():
        for part in (parts.unet, parts.vae, parts.text_encoder, parts.image_encoder):
            part.to("cuda")
    right, wrong = heard_right(parts)
    print(f"prompts never seen: {right} of {len(prompts())} put to the right move; wrong: {wrong}", flush=True)
    print(HEADER, flush=True)
    rows = []
    for row in evaluate(parts, pictures, frames=options.frames, steps=options.steps, guidance=options.guidance):
        print(line(row), flush=True)
        rows.append(row)
    print(line(together(rows)))


def _demo(options: argparse.Namespace) -> None:
    from serving.training.demo import save

    save(options.file)


if __name__ == "__main__":
    main()

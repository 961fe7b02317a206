"""`python -m serving.training PART|large|make|evaluate|demo`: make the built-in model, measure it, draw its picture."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from serving.training.recipe import PARTS, Recipe, cook, enlarge

FOLDERS = {"text": "text_encoder", "vision": "image_encoder", "vae": "vae", "unet": "unet"}
"""Where a part lies in a model's folder."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m serving.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    work = argparse.ArgumentParser(add_help=False)
    work.add_argument("--work", type=Path, default=Path("build/training"), help="where parts are kept to go on from")
    for part in PARTS:
        one = commands.add_parser(part, parents=[work], help=f"make the {part}, and what of the other parts it needs")
        one.add_argument("--into", type=Path, help="a model's folder in which it takes the place of the one before")
    large = commands.add_parser("large", parents=[work], help="teach a model's UNet 512p, going on from what it knows")
    large.add_argument("--begin", type=Path, help="the model's folder to go on from; the shipped one if left out")
    large.add_argument("--into", type=Path, required=True, help="where the UNet goes; a copy of the other if it is new")
    large.add_argument(
        "--seconds", type=float, default=Recipe.large_seconds, help="how long to train, interruptions not counted"
    )
    large.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs, if not in their own packages")
    make = commands.add_parser("make", parents=[work], help="all parts, and the folder (about half an hour on an H100)")
    make.add_argument("folder", type=Path)
    make.add_argument("--untrained", action="store_true", help="write seeded random weights at once instead")
    evaluate = commands.add_parser("evaluate", help="measure every move on pictures and prompts never trained on")
    evaluate.add_argument("folder", type=Path, nargs="?")
    evaluate.add_argument("--drawn", type=int, default=0, help="how many drawn scenes that were never trained on")
    evaluate.add_argument("--products", type=int, default=3, help="how many drawn product shots on plain ground")
    evaluate.add_argument(
        "--photos", type=Path, nargs="?", const=True, metavar="FOLDER",
        help="five photographs too, of a folder, or those that come with the training extra",
    )  # fmt: skip
    evaluate.add_argument("--prompts", type=Path, nargs="+", help="lists of moves and prompts; all never seen if none")
    evaluate.add_argument("--frames", type=int, default=8)
    evaluate.add_argument("--steps", type=int, default=6)
    evaluate.add_argument("--guidance", type=float, default=1.0)
    evaluate.add_argument("--side", type=int, default=256)
    evaluate.add_argument("--device", help="cpu or cuda; a card where there is one")
    evaluate.add_argument("--json", type=Path, help="where to leave every clip's figures too")
    demo = commands.add_parser("demo", help="draw the demo picture")
    demo.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    {"large": _large, "make": _make, "evaluate": _evaluate, "demo": _demo}.get(options.command, _part)(options)


def _part(options: argparse.Namespace) -> None:
    from serving.training.folder import replace

    parts = cook(Recipe(), options.work, options.command)
    if options.into is not None and options.command in FOLDERS:
        replace(parts, FOLDERS[options.command], options.into)


def _large(options: argparse.Namespace) -> None:
    from serving.training.folder import BUILTIN, read, replace

    recipe, begin = Recipe(), options.begin or BUILTIN
    pack = dataclasses.replace(recipe.large_pictures, photos=options.photos)
    parts = read(begin)
    enlarge(dataclasses.replace(recipe, large_pictures=pack, large_seconds=options.seconds), parts, options.work)
    if not options.into.exists():
        shutil.copytree(begin, options.into)
    replace(parts, "unet", options.into)


def _make(options: argparse.Namespace) -> None:
    from serving.training.architecture import build
    from serving.training.folder import write
    from serving.training.sizing import fit_cost, profile
    from serving.training.vocabulary import learn_tokenizer

    if options.untrained:
        parts = build(learn_tokenizer())
    else:
        parts = cook(Recipe(), options.work)
        enlarge(Recipe(), parts, options.work)
    write(parts, options.folder)
    text = profile(fit_cost(parts)).model_dump_json(indent=2)
    (options.folder / "profile.json").write_text(text + "\n")


def _evaluate(options: argparse.Namespace) -> None:
    from serving.training import report
    from serving.training.evaluation import evaluate
    from serving.training.folder import BUILTIN, read
    from serving.training.unseen import LISTS, misheard, prompts

    names, pictures = _pictures(options)
    parts = read(options.folder or BUILTIN)
    for part in (parts.unet, parts.vae, parts.text_encoder, parts.image_encoder):
        part.to(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    said = prompts(*(options.prompts or LISTS))
    wrong = misheard(parts, said)
    print(f"prompts never seen: {len(said) - len(wrong)} of {len(said)} put to the right move; wrong: {wrong}")
    print(report.HEADER, flush=True)
    settings = {"frames": options.frames, "steps": options.steps, "guidance": options.guidance}
    clips = []
    for made in evaluate(parts, pictures, said, **settings):
        print(report.line(report.together(made, made[0].move)), flush=True)
        clips += made
    print(report.line(report.together(clips, "all")))
    print(*report.misses(clips, list(wrong)), sep="\n")
    if options.json is not None:
        about = settings | {"side": options.side, "pictures": names, "device": str(parts.unet.device)}
        text = json.dumps(report.as_json(clips, list(wrong), len(said), about), indent=2)
        options.json.write_text(text + "\n")


def _pictures(options: argparse.Namespace) -> tuple[list[str], torch.Tensor]:
    """Names, and pixels (N, 3, side, side) in -1..1, of what to measure on."""
    from serving.training import photos
    from serving.training.demo import draw
    from serving.training.pictures import HELD_OUT, picture, product

    side = options.side
    found = {"demo": np.asarray(draw(side))}
    found |= {f"drawn {index}": picture(HELD_OUT + index, side) for index in range(options.drawn)}
    found |= {f"product {index}": product(HELD_OUT + index, side) for index in range(options.products)}
    if options.photos is not None:
        files = photos.files(photos.HELD_OUT, None if options.photos is True else options.photos)
        found |= {file.stem: photos.squares(file, side)[0] for file in files}
    pixels = torch.from_numpy(np.stack(list(found.values())))
    return list(found), pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def _demo(options: argparse.Namespace) -> None:
    from serving.training.demo import save

    save(options.file)


if __name__ == "__main__":
    main()

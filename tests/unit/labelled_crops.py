"""Drawn pictures with a subject away from the middle, and where it is: what a crop should keep.

The first set was at hand while the method was chosen; the second was drawn afterwards, and nothing was changed to suit
it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Box = tuple[int, int, int, int]
Case = tuple[str, Image.Image, Box]
Draw = Callable[[ImageDraw.ImageDraw, Box], None]

WIDE, TALL = (1200, 600), (600, 1200)


def plain(size: tuple[int, int], colour: str | tuple[int, int, int] = "white") -> Image.Image:
    return Image.new("RGB", size, colour)


def slope(size: tuple[int, int], first: tuple[int, int, int], last: tuple[int, int, int]) -> Image.Image:
    """From one colour at the top to another at the bottom."""
    steps = np.linspace(first, last, size[1])[:, None].repeat(size[0], 1)
    return Image.fromarray(steps.astype(np.uint8))


def noisy(size: tuple[int, int], level: int, spread: float, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).normal(level, spread, (size[1], size[0], 3))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def horizon(size: tuple[int, int]) -> Image.Image:
    image = slope(size, (120, 170, 230), (220, 230, 240))
    image.paste((200, 180, 140), (0, size[1] * 2 // 3, *size))
    return image


def leaves(size: tuple[int, int], seed: int = 1) -> Image.Image:
    image = plain(size, (60, 110, 50))
    draw, dice = ImageDraw.Draw(image), random.Random(seed)
    for _ in range(3000):
        x, y, w, h = dice.randint(0, size[0]), dice.randint(0, size[1]), dice.randint(6, 30), dice.randint(6, 30)
        draw.ellipse((x, y, x + w, y + h), fill=(dice.randint(10, 60), dice.randint(60, 170), 30))
    return image


def bokeh(size: tuple[int, int], seed: int = 2) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(40, 200, (4, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(20))


def bricks(size: tuple[int, int]) -> Image.Image:
    image = plain(size, (150, 80, 60))
    draw = ImageDraw.Draw(image)
    for row in range(0, size[1], 24):
        draw.line((0, row, size[0], row), fill=(200, 190, 180), width=3)
        for column in range(row % 48, size[0], 48):
            draw.line((column, row, column, row + 24), fill=(200, 190, 180), width=3)
    return image


def room(size: tuple[int, int]) -> Image.Image:
    """A wall with a window frame, and a floor."""
    image = plain(size, (225, 215, 200))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, size[1] * 3 // 4, *size), fill=(140, 100, 70))
    draw.rectangle((size[0] // 10, size[1] // 8, size[0] // 4, size[1] // 3), outline=(210, 200, 185), width=8)
    return image


def ball(draw: ImageDraw.ImageDraw, box: Box) -> None:
    draw.ellipse(box, fill=(200, 40, 40))
    left, top, right, bottom = box
    draw.ellipse((left + 20, top + 20, (left + right) // 2, (top + bottom) // 2), fill=(240, 130, 120))


def bottle(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    third = (right - left) // 3
    draw.rectangle((left + third, top, right - third, top + (bottom - top) // 3), fill=(20, 60, 30))
    draw.rounded_rectangle((left, top + (bottom - top) // 4, right, bottom), 20, fill=(30, 90, 45))
    draw.rectangle((left + 10, (top + bottom) // 2, right - 10, bottom - 40), fill=(240, 230, 200))


def figure(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    middle, head = (left + right) // 2, (right - left) // 4
    draw.ellipse((middle - head, top, middle + head, top + 2 * head), fill=(225, 180, 150))
    draw.polygon([(middle, top + head), (left, bottom), (right, bottom)], fill=(40, 60, 150))


def shoe(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    draw.polygon([(left, bottom), (left, top), (left + 60, top), (right, bottom - 40), (right, bottom)], fill="white")
    draw.rectangle((left, bottom - 20, right, bottom), fill=(30, 30, 30))
    draw.line((left + 30, top + 10, right - 20, bottom - 35), fill=(220, 60, 60), width=10)


def sphere(draw: ImageDraw.ImageDraw, box: Box) -> None:
    """Light grey: little contrast on a light ground."""
    left, top, right, bottom = box
    for step in range(40):
        inset = step * (right - left) // 100
        draw.ellipse(
            (left + inset, top + inset, right - inset, bottom - inset), fill=(200 + step, 200 + step, 202 + step)
        )


def mug(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    width = right - left
    draw.ellipse((left + width // 2, top + 30, right, bottom - 30), outline=(50, 90, 140), width=22)
    draw.rounded_rectangle((left, top, right - width // 4, bottom), 14, fill=(60, 110, 170))


def on(image: Image.Image, subject: Draw, box: Box) -> tuple[Image.Image, Box]:
    subject(ImageDraw.Draw(image), box)
    return image, box


def cases() -> Iterator[Case]:
    yield "ball left on white", *on(plain(WIDE), ball, (80, 200, 330, 450))
    yield "bottle right on white", *on(plain(WIDE), bottle, (950, 80, 1110, 540))
    yield "shoe left on grey", *on(plain(WIDE, (170, 170, 175)), shoe, (60, 250, 420, 480))
    yield "pale sphere on white", *on(plain(WIDE), sphere, (850, 150, 1150, 450))
    yield "figure low on a slope", *on(slope(TALL, (240, 240, 245), (180, 180, 190)), figure, (180, 800, 420, 1160))
    yield "ball before a sunset", *on(slope(WIDE, (40, 40, 90), (250, 150, 60)), ball, (60, 150, 280, 370))
    yield "bottle on noise", *on(noisy(WIDE, 180, 12), bottle, (900, 100, 1060, 540))
    yield "figure on a beach", *on(horizon(WIDE), figure, (120, 180, 330, 520))
    yield "ball in leaves", *on(leaves(WIDE), ball, (820, 180, 1060, 420))
    yield "bottle before bokeh", *on(bokeh(WIDE), bottle, (80, 80, 260, 560))
    yield "shoe on bricks", *on(bricks(WIDE), shoe, (800, 260, 1140, 480))
    yield "figure in a room", *on(room(WIDE), figure, (860, 160, 1100, 560))
    yield "ball on a tall beach", *on(horizon(TALL), ball, (180, 900, 420, 1140))
    yield "bottle high on white", *on(plain(TALL), bottle, (230, 60, 380, 480))

    yield "mug left on cream", *on(plain(WIDE, (245, 238, 220)), mug, (40, 200, 340, 480))
    yield "mug right on black", *on(plain(WIDE, (12, 12, 14)), mug, (860, 150, 1160, 430))
    yield "sphere on pale blue", *on(plain(WIDE, (225, 235, 245)), sphere, (30, 120, 360, 450))
    yield "mug on noise", *on(noisy(WIDE, 110, 25, seed=5), mug, (880, 180, 1160, 440))
    yield "shoe in leaves", *on(leaves(WIDE, seed=9), shoe, (60, 250, 400, 480))
    yield "mug before bokeh", *on(bokeh(WIDE, seed=8), mug, (850, 180, 1150, 450))
    yield "figure before bokeh, low", *on(bokeh(TALL, seed=4), figure, (160, 780, 440, 1180))
    yield "mug in a room", *on(room(WIDE), mug, (60, 260, 330, 480))
    yield "ball on a slope, high", *on(slope(TALL, (90, 140, 90), (230, 230, 220)), ball, (150, 50, 430, 330))
    yield "bottle on bricks", *on(bricks(WIDE), bottle, (60, 60, 220, 560))
    yield "figure at the right edge", *on(plain(WIDE, (200, 205, 210)), figure, (960, 120, 1199, 599))
    yield "shoe on a tall room", *on(room(TALL), shoe, (120, 820, 480, 1010))


def curtain(size: tuple[int, int]) -> Image.Image:
    waves = 150 + 40 * np.sin(np.arange(size[0]) / 13) + 10 * np.sin(np.arange(size[0]) / 41)
    pixels = np.stack([waves * 0.9, waves * 0.75, waves * 0.8], axis=1)[None].repeat(size[1], 0)
    return Image.fromarray(pixels.astype(np.uint8))


def planks(size: tuple[int, int]) -> Image.Image:
    image, dice = plain(size), random.Random(7)
    draw = ImageDraw.Draw(image)
    for top in range(0, size[1], 60):
        shade = dice.randint(-15, 15)
        draw.rectangle((0, top, size[0], top + 57), fill=(170 + shade, 125 + shade, 85 + shade))
        draw.line((0, top + 59, size[0], top + 59), fill=(90, 60, 40), width=3)
    return image


def tiles(size: tuple[int, int]) -> Image.Image:
    """A wall over a floor of dark and light tiles."""
    image = plain(size, (190, 200, 195))
    draw = ImageDraw.Draw(image)
    for top in range(size[1] * 2 // 3, size[1], 50):
        for left in range(0, size[0], 50):
            light = (top // 50 + left // 50) % 2
            draw.rectangle((left, top, left + 49, top + 49), fill=(205, 200, 190) if light else (160, 155, 150))
    return image


def clouds(size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(3).uniform(0, 1, (6, 10))
    cover = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))[..., None].clip(0, 1)
    return Image.fromarray(
        (np.array([110, 160, 220]) * (1 - cover) + np.array([245, 245, 248]) * cover).astype(np.uint8)
    )


def halves(size: tuple[int, int]) -> Image.Image:
    image = plain(size, (230, 190, 190))
    image.paste((190, 205, 230), (size[0] // 2, 0, *size))
    return image


def lamp(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    middle, shade = (left + right) // 2, top + (bottom - top) // 3
    draw.polygon([(left + 40, top), (right - 40, top), (right, shade), (left, shade)], fill=(250, 220, 150))
    draw.rectangle((middle - 8, shade, middle + 8, bottom), fill=(70, 60, 50))
    draw.ellipse((middle - 70, bottom - 30, middle + 70, bottom), fill=(70, 60, 50))


def cat(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    middle, quarter = (left + right) // 2, (right - left) // 4
    draw.ellipse((left, (top + bottom) // 2 - 40, right, bottom), fill=(90, 85, 80))
    draw.ellipse((middle - quarter, top + 30, middle + quarter, top + 30 + 2 * quarter), fill=(100, 95, 90))
    for side in (-1, 1):
        ear = middle + side * quarter
        draw.polygon([(ear, top), (ear, top + quarter), (ear - side * quarter, top + 50)], fill=(100, 95, 90))
        eye = middle + side * quarter // 2
        draw.ellipse((eye - 9, top + 30 + quarter - 9, eye + 9, top + 30 + quarter + 9), fill=(190, 210, 90))


def chair(draw: ImageDraw.ImageDraw, box: Box) -> None:
    left, top, right, bottom = box
    seat = (top + bottom) // 2
    draw.rectangle((left, top, left + 24, bottom), fill=(130, 60, 50))
    draw.rectangle((left, seat, right, seat + 30), fill=(150, 70, 60))
    draw.rectangle((right - 24, seat, right, bottom), fill=(130, 60, 50))


def later_cases() -> Iterator[Case]:
    yield "lamp before a curtain", *on(curtain(WIDE), lamp, (70, 60, 290, 560))
    yield "cat on planks", *on(planks(WIDE), cat, (830, 200, 1130, 500))
    yield "chair on tiles", *on(tiles(WIDE), chair, (900, 130, 1120, 540))
    yield "ball among clouds", *on(clouds(WIDE), ball, (90, 90, 310, 310))
    yield "lamp on halves", *on(halves(WIDE), lamp, (880, 80, 1130, 560))
    yield "cat on white", *on(plain(WIDE), cat, (50, 220, 360, 520))
    yield "chair on grey", *on(plain(WIDE, (205, 205, 200)), chair, (930, 100, 1150, 520))
    yield "cat low on a curtain", *on(curtain(TALL), cat, (150, 840, 450, 1140))
    yield "lamp high among clouds", *on(clouds(TALL), lamp, (180, 40, 420, 500))
    yield "shoe on planks", *on(planks(WIDE), shoe, (60, 240, 400, 470))
    yield "chair on a tall noise", *on(noisy(TALL, 150, 18, seed=11), chair, (180, 760, 410, 1160))
    yield "mug on tiles", *on(tiles(WIDE), mug, (70, 250, 350, 510))


def kept(box: Box, window: tuple[float, float, float, float]) -> float:
    """The share of `box` that lies in `window`."""
    width = min(box[2], window[2]) - max(box[0], window[0])
    height = min(box[3], window[3]) - max(box[1], window[1])
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))

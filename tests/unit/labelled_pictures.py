"""Drawn pictures with and without a small subject, and with and without text.

The first sets were at hand while the methods were chosen; the later ones were drawn afterwards, and nothing was changed
to suit them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Named = Iterator[tuple[str, Image.Image]]


def colours(size: tuple[int, int] = (640, 640), seed: int = 0) -> Image.Image:
    """Smooth colours without a subject."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 4), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert("RGB")


def ground(
    colour: str | tuple[int, int, int] = (240, 240, 240), size: tuple[int, int] = (640, 640)
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, colour)
    return image, ImageDraw.Draw(image)


def small_subjects() -> Named:
    image, draw = ground()
    draw.ellipse((280, 280, 380, 380), fill="navy")
    yield "ball", image
    image, draw = ground("white")
    draw.rectangle((40, 500, 140, 600), fill="red")
    yield "box in a corner", image
    image, draw = ground("black")
    draw.ellipse((200, 300, 290, 420), fill="white")
    yield "light on black", image
    image, draw = ground((120, 160, 210))
    draw.polygon([(300, 250), (380, 380), (220, 380)], fill=(200, 60, 40))
    yield "kite in the sky", image
    image, draw = ground((250, 248, 245))
    draw.rounded_rectangle((290, 240, 350, 370), 12, fill=(30, 30, 35))
    yield "phone", image
    noise = np.random.default_rng(0).normal(230, 4, (640, 640, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).ellipse((250, 250, 370, 330), fill=(90, 60, 30))
    yield "nut on a noisy ground", image
    image, draw = ground((235, 235, 235), (640, 400))
    draw.rectangle((300, 150, 340, 250), fill="green")
    draw.ellipse((290, 120, 350, 160), fill="brown")
    yield "bottle", image


def no_small_subjects() -> Named:
    yield "plain", ground()[0]
    image, draw = ground()
    draw.ellipse((120, 120, 520, 520), fill="navy")
    yield "large ball", image
    image, draw = ground("white")
    draw.ellipse((80, 60, 560, 580), outline="goldenrod", width=5)
    yield "necklace", image
    yield "scene", colours()
    image, draw = ground()
    for column in range(4):
        draw.rectangle((60 + column * 150, 280, 110 + column * 150, 360), fill="teal")
    yield "row of four", image
    image, draw = ground()
    for at in range(0, 600, 97):
        draw.point((at, at * 7 % 600), fill="black")
    yield "dust", image
    slope = np.linspace(40, 250, 640).astype(np.uint8)[:, None, None].repeat(640, 1).repeat(3, 2)
    image = Image.fromarray(slope)
    ImageDraw.Draw(image).ellipse((280, 280, 360, 360), fill="red")
    yield "ball before a sunset", image
    image, draw = ground("white")
    draw.line((20, 620, 620, 20), fill="black", width=12)
    yield "walking stick", image


def lettered(text: str, at: tuple[int, int], size: int, ink: str, image: Image.Image | None = None) -> Image.Image:
    image = ground()[0] if image is None else image.copy()
    ImageDraw.Draw(image).text(at, text, fill=ink, font=ImageFont.load_default(size))
    return image


def texts() -> Named:
    yield "caption", lettered("Summer sale, only today", (40, 300), 36, "black")
    yield "capitals", lettered("NEW ARRIVALS 2024", (60, 80), 44, "white", ground("navy")[0])
    yield "small print", lettered("Wash at thirty degrees. Do not bleach.", (30, 600), 18, "black")
    yield (
        "over a picture",
        lettered("www.example.com", (50, 500), 48, "white", colours().point(lambda v: v // 2)),
    )
    yield "headline", lettered("Bargain day", (20, 200), 100, "black", ground("white")[0])
    yield "paragraph", lettered("The quick brown fox\njumps over the lazy\ndog near the river", (60, 150), 40, "black")
    label, draw = ground((200, 180, 150))
    draw.rounded_rectangle((180, 220, 480, 420), 20, fill="white")
    yield "label", lettered("Orange juice", (210, 290), 40, "darkgreen", label)
    yield "on wide pictures", lettered("Made in Portugal by hand", (120, 30), 30, "black", ground(size=(768, 200))[0])


def no_texts() -> Named:
    yield "plain", ground()[0]
    yield "colours", colours()
    image, draw = ground("white")
    for row in range(0, 640, 32):
        for column in range(0, 640, 32):
            if (row + column) % 64:
                draw.rectangle((column, row, column + 31, row + 31), fill="black")
    yield "checkers", image
    image, draw = ground("white")
    for column in range(0, 640, 24):
        draw.rectangle((column, 0, column + 11, 640), fill="navy")
    yield "stripes", image
    image, draw = ground((150, 80, 60))
    for row in range(0, 640, 24):
        draw.line((0, row, 640, row), fill="white", width=3)
        for column in range(row % 48, 640, 48):
            draw.line((column, row, column, row + 24), fill="white", width=3)
    yield "bricks", image
    image, draw = ground((180, 190, 200))
    for row in range(40, 600, 50):
        for column in range(40, 600, 32):
            draw.rectangle((column, row, column + 16, row + 28), fill=(30, 40, 60))
    yield "windows", image
    image, draw = ground("white")
    for row in range(20, 640, 40):
        for column in range(20, 640, 40):
            draw.ellipse((column, row, column + 18, row + 18), fill="crimson")
    yield "polka dots", image
    image, draw = ground((60, 110, 50))
    dice = random.Random(4)
    for _ in range(2500):
        x, y, width, height = dice.randint(0, 640), dice.randint(0, 640), dice.randint(6, 30), dice.randint(6, 30)
        draw.ellipse((x, y, x + width, y + height), fill=(10, dice.randint(40, 230), 20))
    yield "leaves", image
    noise = np.random.default_rng(1).integers(0, 256, (640, 640, 3), np.uint8)
    yield "noise", Image.fromarray(noise)
    yield "gravel", Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)).point(lambda v: (v - 118) * 9)
    image, draw = ground()
    draw.ellipse((200, 200, 440, 440), fill="gray")
    draw.ellipse((260, 260, 300, 300), fill="black")
    draw.ellipse((340, 260, 380, 300), fill="black")
    yield "face", image
    image, draw = ground("white")
    for key in range(12):
        draw.rectangle((30 + key * 48, 200, 74 + key * 48, 440), outline="black", width=2)
        draw.rectangle((60 + key * 48, 200, 90 + key * 48, 340), fill="black")
    yield "piano keys", image


def later_small_subjects() -> Named:
    image, draw = ground((255, 250, 235))
    draw.ellipse((500, 60, 590, 150), outline="goldenrod", width=12)
    yield "ring in a corner", image
    image, draw = ground((30, 32, 40))
    draw.polygon([(310, 420), (350, 420), (340, 500), (320, 500)], fill="orange")
    yield "cup on black", image
    image, draw = ground((210, 225, 240), (700, 500))
    draw.ellipse((340, 200, 440, 240), fill=(90, 90, 100))
    draw.polygon([(330, 220), (300, 200), (300, 240)], fill=(90, 90, 100))
    yield "fish on pale blue", image
    image, draw = ground("white", (600, 900))
    draw.rectangle((270, 700, 330, 800), fill=(200, 60, 90))
    draw.rectangle((285, 670, 315, 700), fill=(40, 40, 40))
    yield "flask low on white", image
    noise = np.random.default_rng(3).normal(120, 5, (640, 640, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(noise)
    ImageDraw.Draw(image).rectangle((100, 100, 220, 190), fill=(240, 240, 240))
    yield "card on noisy grey", image
    image, draw = ground((245, 245, 245))
    for inset in range(40):
        draw.ellipse((280 + inset, 280 + inset, 380 - inset, 380 - inset), fill=(60 + 3 * inset,) * 3)
    yield "shaded ball", image


def later_no_small_subjects() -> Named:
    image, draw = ground("white")
    draw.rounded_rectangle((200, 60, 440, 600), 40, fill=(40, 90, 60))
    yield "bottle that fills it", image
    image, draw = ground((250, 250, 250))
    for at in range(60, 600, 120):
        draw.ellipse((at, at - 20, at + 50, at + 30), fill="crimson")
    yield "beads from corner to corner", image
    image, draw = ground()
    draw.rectangle((0, 500, 640, 640), fill=(150, 110, 80))
    draw.ellipse((280, 400, 360, 500), fill="navy")
    yield "cup on a table", image
    image, draw = ground((20, 20, 60))
    dice = random.Random(8)
    for _ in range(120):
        x, y = dice.randint(5, 630), dice.randint(5, 630)
        draw.ellipse((x, y, x + 4, y + 4), fill="white")
    yield "starry sky", image
    yield "other colours", colours(seed=5)
    image, draw = ground("white")
    draw.arc((40, 40, 600, 600), 20, 330, fill="black", width=8)
    yield "open ring that fills it", image


def later_texts() -> Named:
    yield "price", lettered("only 29.95 today", (80, 400), 50, "crimson", ground("white")[0])
    yield "signature on colours", lettered("photo by A. Miller", (340, 600), 24, "white", colours(seed=7))
    yield "light on dark", lettered("Terms and conditions", (60, 60), 30, "lightgrey", ground((30, 30, 30))[0])
    yield "two columns", lettered("Ingredients  Nutrition\nsugar, salt  energy 90", (50, 250), 40, "black")
    box, draw = ground((120, 90, 60))
    draw.rectangle((100, 150, 540, 480), fill=(240, 230, 210))
    yield "box", lettered("Handmade soap", (150, 280), 46, "saddlebrown", box)
    yield "tiny print", lettered("Batteries are not included in the box.", (200, 560), 16, "black", ground("white")[0])
    yield "tilted a little", lettered("Holiday offer ends", (90, 280), 44, "black").rotate(2, fillcolor=(240, 240, 240))


def later_no_texts() -> Named:
    image, draw = ground((225, 225, 220))
    for at in range(20, 640, 30):
        draw.rectangle((at, 200, at + 12, 460), fill=(120, 90, 60))
    yield "picket fence", image
    image, draw = ground("white")
    for key in range(10):
        for row in range(4):
            draw.rounded_rectangle(
                (60 + key * 52, 220 + row * 52, 104 + key * 52, 264 + row * 52), 8, fill=(60, 60, 65)
            )
    yield "blank keyboard", image
    image, draw = ground((40, 80, 40))
    dice = random.Random(21)
    for _ in range(400):
        x, y = dice.randint(0, 640), dice.randint(0, 640)
        draw.line(
            (x, y, x + dice.randint(-20, 20), y - dice.randint(10, 60)), fill=(90, dice.randint(120, 200), 60), width=3
        )
    yield "grass", image
    image, draw = ground((240, 220, 200))
    for at in range(40, 600, 70):
        draw.ellipse((at, 300, at + 40, 340), fill="darkred")
    yield "string of beads", image
    image, draw = ground((200, 205, 210))
    for row in range(30, 620, 90):
        for column in range(30, 620, 70):
            draw.rectangle((column, row, column + 40, row + 60), fill=(60, 70, 90))
            draw.line((column + 20, row, column + 20, row + 60), fill=(200, 205, 210), width=4)
    yield "facade", image
    fine = np.random.default_rng(4).integers(0, 256, (160, 160, 3), np.uint8)
    yield "coarse noise", Image.fromarray(fine).resize((640, 640), Image.Resampling.NEAREST)
    image, draw = ground("white")
    for at in range(30, 600, 60):
        draw.polygon([(at, 360), (at + 20, 300), (at + 40, 360)], fill="darkgreen")
    yield "row of trees", image

"""From a product's title and category to all of a submission but the picture: for one product, or a sheet of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.errors import InvalidParameter
from serving.presets import ModelProfile
from serving.prompts.catalog import CATALOG
from serving.prompts.motion import words_of
from serving.prompts.templates import Category, Template, allowed
from serving.prompts.words import ABSTRACT, words

MAX_TITLE_CHARACTERS = 500
SUBJECT_WORDS = 6

_NOTES = re.compile(r"\([^()]*\)|\[[^][]*\]|【[^】]*】|（[^）]*）|\{[^{}]*\}")
_PARTS = re.compile(r"\s[-–—|/•]\s|[|;,:!?•]|\.\s")
_DETAILS = re.compile(r"\b(?:with|for|in|by|from|incl|including|plus|w/)\b\.?", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|an?|our|my|your)\s+", re.IGNORECASE)
_MEASURE = re.compile(
    r"\d+(?:[.,x×]\d+)*\s?-?(?:gb|tb|mb|mah|ml|cl|l|g|kg|oz|lb|mm|cm|m|inch|in|ft|w|v|hz|pcs?|pack|pieces?|count|ct)\b"
    r"|(?:pack|set) of \d+|\d+%|[#№]\w+|[A-Z]+-?\d[\w-]{3,}|\b(?:X{1,3}[SL]|[SL])$",
    re.IGNORECASE,
)  # fmt: skip
_SALE = words(
    "sale bestseller best selling seller free shipping delivery official original genuine authentic premium deal "
    "discount offer limited edition exclusive trending pcs size sku"
)

# What is said more plainly beside them, and would be contradicted.
_EXCLUDES = {
    "size": ("resolution", "aspect_ratio"),
    "resolution": ("size",),
    "aspect_ratio": ("size",),
    "seconds": ("num_frames",),
    "num_frames": ("seconds",),
    "segments": ("angles",),
    "angles": ("segments",),
    "preset": ("resolution", "num_frames", "num_inference_steps", "fps"),
}


@dataclass(frozen=True)
class Written:
    """A prompt that was written, and what suits it."""

    category: Category
    template: Template
    subject: str
    prompt: str
    parameters: Mapping[str, Any]
    negative_prompt: str | None

    def fields(self, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A submission's fields by the API's names, with those of `own` laid over them."""
        return laid_over({"prompt": self.prompt, "negative_prompt": self.negative_prompt, **self.parameters}, own or {})

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "template": self.template.name,
            "category": self.category.name,
            "text": self.template.text,
            "subject": self.subject,
            "prompt": self.prompt,
            "parameters": dict(self.parameters),
            "negative_prompt": self.negative_prompt,
        }


def laid_over(usual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A submission's fields by the API's names: of `usual`, and of `own`, as in a sheet's row, which win; no None.

    A `preset` of its own takes the place of all that presets decide, `size` that of `resolution` and `aspect_ratio`,
    `seconds` that of `num_frames`, `segments` that of `angles`, and the other way round.
    """
    given = {name: value for name, value in own.items() if value is not None}
    dropped = {other for name in given for other in _EXCLUDES.get(name, ())}
    return {name: value for name, value in usual.items() if value is not None and name not in dropped} | given


def write(title: str, category: str | None, profile: ModelProfile, template: str | None = None) -> Written:
    """The prompt for a product.

    Args:
        title: as a shop writes it, in English.
        category: one of the catalog's, or another word for it; may be left out where `template` is named.
        template: by name; else the first of the category that is for one of the title's words, else the first that
            suits anything.

    Raises:
        InvalidParameter: naming `title`, `category` or `template`.
    """
    subject = subject_of(title)
    if template is not None:
        kind, chosen = template_named(template)
        if category is not None and category_named(category) is not kind:
            raise InvalidParameter(
                f"template: {template} is of {kind.name}, not of {category[:100]!r}.", param="template"
            )
    elif category is not None:
        kind = category_named(category)
        chosen = _suiting(kind, {*words_of(title), *words_of(category)})
    else:
        raise InvalidParameter("category: is missing; name it, or a template.", param="category")
    return _filled(kind, chosen, subject, profile)


def templates_of(category: str | None, profile: ModelProfile) -> Iterator[Written]:
    """Every template, or those of one category, with the example of its thing.

    Raises:
        InvalidParameter: there is no such category.
    """
    for kind in CATALOG if category is None else (category_named(category),):
        for template in kind.templates:
            yield _filled(kind, template, template.subject, profile)


def _filled(category: Category, template: Template, subject: str, profile: ModelProfile) -> Written:
    return Written(
        category,
        template,
        subject,
        template.about(subject),
        allowed(category.parameters, profile),
        category.negative_prompt(template, profile),
    )


def subject_of(title: str) -> str:
    """What a shop's title is about.

    Left out are notes in brackets, sizes, codes, praise, and what follows a comma, a dash or a word such as "with".

    Raises:
        InvalidParameter: nothing is left, or the title is too long.
    """
    if len(title) > MAX_TITLE_CHARACTERS:
        message = f"title: {len(title)} characters given; at most {MAX_TITLE_CHARACTERS} are allowed."
        raise InvalidParameter(message, param="title")
    text = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in title)
    for part in _PARTS.split(_NOTES.sub(" ", text)):
        named = _DETAILS.split(part, maxsplit=1)[0]
        for found in (named, part):
            left = [word for word in _MEASURE.sub(" ", _ARTICLE.sub("", found.strip())).split() if _names(word)]
            if left:
                return " ".join(_calm(word) for word in left[-SUBJECT_WORDS:])
    raise InvalidParameter(f"title: {title[:100]!r} names no thing.", param="title")


def category_named(name: str) -> Category:
    """The category of that name, or of another word for it, in any case.

    Raises:
        InvalidParameter: there is none; the message names all.
    """
    word = name.strip().lower()
    for category in CATALOG:
        if word == category.name or word in category.also.split():
            return category
    known = ", ".join(category.name for category in CATALOG)
    raise InvalidParameter(f"category: {name[:100]!r} given; allowed: {known}.", param="category")


def template_named(name: str) -> tuple[Category, Template]:
    """The template of that name, and its category.

    Raises:
        InvalidParameter: there is none.
    """
    for category in CATALOG:
        for template in category.templates:
            if template.name == name:
                return category, template
    message = f"template: {name[:100]!r} given; GET /v1/prompts/templates lists them."
    raise InvalidParameter(message, param="template")


def _suiting(category: Category, said: set[str]) -> Template:
    for template in category.templates:
        if not said.isdisjoint(template.suits.split()):
            return template
    return next(template for template in category.templates if not template.suits)


def _names(word: str) -> bool:
    bare = word.strip(".'\"*~_+&").lower()
    return bare not in _SALE and bare not in ABSTRACT and any(letter.isalnum() for letter in word)


def _calm(word: str) -> str:
    return word.lower() if len(word) > 3 and word.isupper() else word

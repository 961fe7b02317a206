"""What of a request's words and guidance seldom gives a good clip, and what of it not the exact one.

Each finding is a `Caution`; none refuses.
"""

from __future__ import annotations

from serving.cautions import Caution
from serving.presets import Distance, ModelProfile
from serving.prompts.english import is_english
from serving.prompts.motion import actions, says_how_it_moves, words_of
from serving.prompts.tokens import READ, Tokenize
from serving.prompts.words import ABSTRACT, FLOWS_BACK, WATER
from serving.request import VideoRequest

MOST_ACTIONS = 3
SHOWN_CHARACTERS = 60


def lint(request: VideoRequest, profile: ModelProfile, tokenize: Tokenize) -> tuple[Caution, ...]:
    """Everything there is to say about `request`; `tokenize` is its model's."""
    found = _of_parts(request, tokenize)
    if request.negative_prompt and request.guided:
        found += _too_long("negative_prompt", request.negative_prompt, tokenize)
    found += _flows_back(request, profile)
    if request.montage.chained:
        message = "Each further segment begins with the last frame of the one before, not with the picture: what goes "
        message += "wrong in one is in all that follow, and the clip drifts from the picture."
        suggestion = "Take as few segments as will do; angles all begin with the picture."
        found.append(Caution(code="segments_drift", field="segments", message=message, suggestion=suggestion))
    advice = next((row for row in profile.guidance_advice if row.applies(request.guidance_scale)), None)
    if advice is not None:
        message = f"guidance_scale {request.guidance_scale:g}: {advice.warning}."
        found.append(Caution(code=advice.code, field="guidance_scale", message=message, suggestion=advice.suggestion))
    found += [_inexact(name, profile.accelerations.get(name, Distance())) for name in request.acceleration]
    return tuple(found)


def lint_prompt(prompt: str, tokenize: Tokenize) -> tuple[Caution, ...]:
    """What `prompt` alone gives reason to say; of one that is not English, no more than that and its length."""
    found = _too_long("prompt", prompt, tokenize)
    if not is_english(prompt):
        message = "The prompt does not look like English, and the model reads English alone."
        return (*found, _prompt("not_english", message, "Translate it."))
    praise = [word for word in dict.fromkeys(words_of(prompt)) if word in ABSTRACT]
    if praise:
        message = f"{_listed(praise)} {'says' if len(praise) == 1 else 'say'} nothing that could be seen."
        found.append(_prompt("abstract_words", message, "Name colour, material, light or movement instead."))
    doing = actions(prompt)
    if len(doing) > MOST_ACTIONS:
        message = f"The prompt names {len(doing)} actions ({_listed(doing)}); a clip of seconds has room for few."
        found.append(_prompt("many_actions", message, f"Keep {MOST_ACTIONS} at most."))
    if not says_how_it_moves(prompt):
        message = "The prompt does not say what moves."
        found.append(_prompt("no_motion", message, 'Add a movement, such as "the camera slowly pans to the left".'))
    return tuple(found)


def _of_parts(request: VideoRequest, tokenize: Tokenize) -> list[Caution]:
    """Of the prompts of all parts: what is true of each is said once, the rest with its angle."""
    by_part = [lint_prompt(prompt, tokenize) for prompt in request.montage.prompts(request.prompt)]
    found = [caution for caution in by_part[0] if all(caution in cautions for cautions in by_part)]
    for number, cautions in enumerate(by_part, start=1):
        own = [caution for caution in cautions if caution not in found]
        found += [caution.model_copy(update=_about(number, caution)) for caution in own]
    return found


def _about(angle: int, caution: Caution) -> dict[str, str]:
    return {"field": "angles", "message": f"Angle {angle}: {caution.message}"}


def _inexact(name: str, distance: Distance) -> Caution:
    message = f"With {name} the clip is not the exact one"
    if distance.psnr_db is None:
        message += "; how far it is from that has not been measured on this model."
    else:
        message += f"; such a clip was {distance.psnr_db:.1f} dB from it ({distance.clip})."
    return Caution(code="inexact", field="acceleration", message=message, suggestion="Leave it out for the exact clip.")


def _too_long(field: str, text: str, tokenize: Tokenize) -> list[Caution]:
    tokens = tokenize(text)
    cut = tokens.cut(text)
    if cut is None:
        return []
    lost = " ".join(text[cut:].split())
    if len(lost) > SHOWN_CHARACTERS:
        lost = f"{lost[:SHOWN_CHARACTERS]}..."
    about = "" if tokens.exact else "about "
    message = (
        f"{field} has {about}{len(tokens.starts)} tokens and the model reads {READ}; this and what follows is "
        f'{"probably " if about else ""}lost: "{lost}"'
    )
    suggestion = "Shorten it, or put what matters first."
    return [Caution(code="prompt_too_long", field=field, message=message, suggestion=suggestion)]


def _flows_back(request: VideoRequest, profile: ModelProfile) -> list[Caution]:
    if profile.negative_prompt is None or not request.guided or WATER.isdisjoint(_words(request)):
        return []
    if any(term in (request.negative_prompt or "").lower() for term in FLOWS_BACK.split(", ")):
        return []
    message = "Flowing water sometimes runs backwards."
    suggestion = f'Add "{FLOWS_BACK}" to negative_prompt.'
    return [Caution(code="backward_flow", field="negative_prompt", message=message, suggestion=suggestion)]


def _words(request: VideoRequest) -> list[str]:
    return words_of(" ".join((request.prompt, *request.angles)))


def _prompt(code: str, message: str, suggestion: str) -> Caution:
    return Caution(code=code, field="prompt", message=message, suggestion=suggestion)


def _listed(words: list[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)

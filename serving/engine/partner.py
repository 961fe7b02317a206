"""Two cards, one clip: in each step either predicts one of the two guidance halves.

The card that leads keeps all that the clip depends on, and sends what is to be predicted from. So the other one can be
lost at any step, and from that very step the leader does both halves; nothing is lost, and nothing comes out otherwise:
the halves are predicted apart on one card as on two, as by the memory plan that takes them one after the other.
Knows nothing of prompts, pictures, jobs or Ray.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields

import torch
from safetensors.torch import load, save

from serving.engine import card
from serving.engine.conditioning import Conditioning
from serving.engine.contract import ShouldStop, Source
from serving.engine.link import Link, LinkLost, Meeting, connect
from serving.engine.parcel import Parcel
from serving.engine.replay import Replay
from serving.engine.sampler import Predict
from serving.scheduling.accelerations import EXACT, Step

logger = logging.getLogger(__name__)
LATE_S = 5.0
"""The other half may come so much later than one's own; or as much later as one's own took, where that is longer."""
BEGINNING_S = 60.0
"""Longest wait of the card that helps for the next step: the leader's own half, and its first use of a shape."""
GOODBYE = b""
"""No other message is empty."""


class Partner:
    """The other card, as the leader sees it."""

    def __init__(self, link: Link, source: Source) -> None:
        """
        Args:
            source: what the leader computes with; the other card refuses where it has something else.
        """
        self._link: Link | None = link
        self._source = source
        self.steps = 0
        """Steps that it has done half of."""

    def leave(self) -> None:
        """Let it go; it is not asked again."""
        if self._link is not None:
            try:
                self._link.send(GOODBYE)
            except LinkLost:
                logger.debug("the second card had gone before")
            self._link.close()
            self._link = None

    def predictor(self, replay: Replay, conditioning: Conditioning, should_stop: ShouldStop) -> Predict:
        """Both halves of a guided request without accelerations, one from the other card for as long as it is there.

        Args:
            should_stop: asked while the other half is waited for; the prediction then raises Cancelled.
        """
        self._send(json.dumps(asdict(self._source)).encode())
        self._send(_opening(conditioning))  # so that both prepare it at once
        prepared = replay.unet.prepare(conditioning)
        mine, other = prepared.half(0), prepared.half(1)
        outward: Parcel | None = None
        homeward = Parcel(conditioning.noise)

        def predict(latents: torch.Tensor, timestep: torch.Tensor, step: Step = EXACT) -> torch.Tensor:
            nonlocal outward
            first = outward is None
            if outward is None:
                outward = Parcel(timestep, latents)
                self._send(_bytes(timestep=timestep, latents=latents))
            else:
                self._send(outward.pack(timestep, latents))
            began = time.perf_counter()
            own = replay(latents, timestep, mine, first=first)
            card.synchronize(own.device)
            answer = self._answer(homeward, max(LATE_S, time.perf_counter() - began), should_stop)
            if answer is None:
                own = own.clone()  # it lasts until the next call
                answer = replay(latents, timestep, other, first=False)
            return torch.cat([own, answer])

        return predict

    def _send(self, message: bytes | memoryview) -> None:
        if self._link is not None:
            try:
                self._link.send(message)
            except LinkLost as error:
                self._lose(error)

    def _answer(self, homeward: Parcel, within_s: float, should_stop: ShouldStop) -> torch.Tensor | None:
        """The other card's prediction; None where it is lost."""
        if self._link is None:
            return None
        try:
            (answer,) = homeward.unpack(self._link.receive(within_s, should_stop, homeward.room))
        # Of another release, in the middle of an update, it may say anything.
        except (LinkLost, ValueError) as error:
            self._lose(error)
            return None
        self.steps += 1
        return answer

    def _lose(self, error: Exception) -> None:
        assert self._link is not None
        self._link.close()
        self._link = None
        logger.warning("the second card was lost after %d steps, the first goes on: %s", self.steps, error)


@contextmanager
def met(meeting: Meeting | None, source: Source) -> Iterator[Partner | None]:
    """The card that waits at `meeting`; None without one, and where it is not there."""
    link = None
    if meeting is not None:
        try:
            link = connect(meeting)
        except LinkLost as error:
            logger.warning("the second card was not met, the first works alone: %s", error)
    if link is None:
        yield None
        return
    partner = Partner(link, source)
    try:
        yield partner
    finally:
        partner.leave()


def assist(
    replay: Replay, link: Link, source: Source, *, on_half: Callable[[int], object], should_stop: ShouldStop
) -> int:
    """Predict a half of every step for the leader at the other end, until it needs no more; how many it were.

    Args:
        source: what this card computes with.
        on_half: told after each one how many they are by now.
        should_stop: asked while the leader is waited for.

    Raises:
        LinkLost: the leader is gone, or computes with something else.
        Cancelled: `should_stop` said so.
    """
    device = replay.unet.device
    if not (theirs := link.receive(BEGINNING_S, should_stop)):
        return 0
    if json.loads(bytes(theirs)) != asdict(source):
        raise LinkLost(f"the leader computes with {theirs!r}, this card with {source}")
    if not (message := link.receive(BEGINNING_S, should_stop)):
        return 0
    prepared = replay.unet.prepare(Conditioning(**_tensors(message, device))).half(1)
    if not (message := link.receive(BEGINNING_S, should_stop)):
        return 0
    begun = _tensors(message, device)
    timestep, latents = begun["timestep"], begun["latents"]
    outward, homeward = Parcel(timestep, latents), Parcel(latents)
    halves = 0
    while True:
        prediction = replay(latents, timestep, prepared, first=halves == 0)
        link.send(homeward.pack(prediction))
        halves += 1
        on_half(halves)
        if not (message := link.receive(BEGINNING_S, should_stop, outward.room)):
            return halves
        timestep, latents = outward.unpack(message)


def _opening(conditioning: Conditioning) -> bytes:
    """All that the steps have in common. Not prepared: the keys and values would be many times as much to send."""
    parts = {part.name: getattr(conditioning, part.name) for part in fields(conditioning)}
    return _bytes(**parts)


def _bytes(**tensors: torch.Tensor) -> bytes:
    message: bytes = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
    return message


def _tensors(message: bytearray | memoryview, device: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in load(bytes(message)).items()}

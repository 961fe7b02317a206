"""Tests on a card have its allocator as a replica has it, whichever test allocates first."""

from __future__ import annotations

from serving.engine import card

card.grow_in_place()

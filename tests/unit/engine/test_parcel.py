"""What crosses comes out as it was, and nothing that was taken out changes with the next crossing."""

from __future__ import annotations

import pytest
import torch

from serving.engine.parcel import Parcel


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_of_odd_sizes_and_any_layout(dtype: torch.dtype) -> None:
    steps, latents = torch.tensor(981), torch.randn(1, 4, 3, 5, 7).to(dtype)
    there, here = Parcel(steps, latents), Parcel(steps, latents)
    turned = latents.permute(0, 2, 1, 3, 4).contiguous().permute(0, 2, 1, 3, 4)
    for _ in range(2):
        first = here.unpack(bytearray(there.pack(steps, turned)))
        there.pack(torch.tensor(1), torch.zeros_like(latents))
        assert first[0] == steps
        assert torch.equal(first[1], latents)
    here.unpack(bytearray(there.pack(steps + 1, latents + 1)))
    assert torch.equal(first[1], latents)


def test_what_was_put_into_the_room_needs_no_copy() -> None:
    there, here = Parcel(torch.zeros(3)), Parcel(torch.zeros(3))
    here.room[:] = there.pack(torch.arange(3.0))
    (received,) = here.unpack(here.room)
    here.room[:] = there.pack(torch.ones(3))
    assert received.tolist() == [0, 1, 2]


def test_a_message_of_other_tensors_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes, where 8"):
        Parcel(torch.zeros(1)).unpack(bytearray(16))

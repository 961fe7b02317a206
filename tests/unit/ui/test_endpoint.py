"""What a program's parameters become: the form fields of a submission."""

from __future__ import annotations

from typing import Any

import pytest

from serving.client import ApiError
from serving.parameters import VideoParameters
from serving.ui.endpoint import form_of


def test_every_kind_of_value() -> None:
    given = {
        "num_frames": 9, "guidance_scale": 3.5, "seed": None, "size": "256x256", "angles": ["pan, slowly", "zoom in"],
        "acceleration": ["unipc", "deepcache"], "metadata": {"sku": "A-1"},
    }  # fmt: skip
    form = form_of(given)
    assert all(isinstance(text, str) for text in form.values())
    notes = form.pop("metadata[sku]")
    asked = VideoParameters.model_validate({"prompt": "p", **form, "metadata": {"sku": notes}})
    assert asked == VideoParameters.model_validate({"prompt": "p", **given})
    assert form_of(None) == form_of({}) == {}


@pytest.mark.parametrize("given", [[1], "seed=5", 7, {"metadata": "sku"}], ids=str)
def test_what_is_no_object(given: Any) -> None:
    with pytest.raises(ApiError, match="give an object"):
        form_of(given)

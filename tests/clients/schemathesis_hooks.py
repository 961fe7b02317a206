"""Half of what Schemathesis submits gets a real picture, so that it comes further than to "not a picture"."""

from __future__ import annotations

import base64
import io
import random
from typing import Any

import schemathesis
from PIL import Image

PICTURES = []
for kind in ("PNG", "JPEG", "WEBP"):
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "grey").save(file, kind)
    PICTURES.append(file.getvalue())


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    given = body.get("input_reference") if isinstance(body, dict) else None
    if isinstance(given, str | bytes) and random.random() < 0.5:
        picture = random.choice(PICTURES)
        data_url = "data:;base64," + base64.b64encode(picture).decode()
        body["input_reference"] = data_url if isinstance(given, str) else picture
    return body

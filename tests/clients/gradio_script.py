"""The unmodified gradio_client against a service's page: `gradio_script.py URL PICTURE FOLDER [KEY]`.

Exits with an error at the first broken promise, and prints the client's version and the clip's path at the end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gradio_client
from gradio_client import Client, handle_file


def main(url: str, picture: str, folder: str, key: str | None = None) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else None
    client = Client(f"{url}/ui", headers=headers, download_files=folder, verbose=False, analytics_enabled=False)

    # One endpoint with a name, and no other.
    told: Any = client.view_api(return_format="dict", print_info=False)
    assert list(told["named_endpoints"]) == ["/generate"], told
    assert told["unnamed_endpoints"] == {}, told
    asked = told["named_endpoints"]["/generate"]["parameters"]
    assert [(one["parameter_name"], one["parameter_has_default"]) for one in asked] == [
        ("picture", False),
        ("prompt", False),
        ("parameters", True),
    ]

    parameters = {"num_inference_steps": 1, "seed": 5, "angles": ["pan left, slowly", "zoom in"], "loop": "pingpong"}
    clip, video = client.predict(handle_file(picture), "a mug on a table", parameters, api_name="/generate")
    assert Path(clip).read_bytes()[4:8] == b"ftyp"
    assert (video["status"], video["parameters"]["seed"]) == ("completed", 5), video
    assert video["parameters"]["angles"] == parameters["angles"]

    # By name, and as a job that is waited for.
    job = client.submit(
        picture=handle_file(picture),
        prompt="pan left",
        parameters={"format": "gif", "num_inference_steps": 1},
        api_name="/generate",
    )
    moving, _ = job.result(timeout=120)
    assert Path(moving).read_bytes()[:4] == b"GIF8"

    for arguments, words in (
        ((handle_file(picture), "", {}), "prompt"),
        ((handle_file(picture), "pan left", {"num_frames": 99}), "num_frames: 99 given"),
        ((handle_file(picture), "pan left", {"colour": "red"}), "colour: unknown field"),
        ((None, "pan left", {}), "picture"),
    ):
        said = refused(client, arguments)
        assert words in said, said
    print(json.dumps({"version": gradio_client.__version__, "clip": clip}))


def refused(client: Client, arguments: tuple[Any, ...]) -> str:
    """What it says."""
    try:
        client.predict(*arguments, api_name="/generate")
    except Exception as error:
        return str(error)
    raise AssertionError(f"not refused: {arguments}")


if __name__ == "__main__":
    main(*sys.argv[1:])

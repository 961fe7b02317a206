"""A script in the style of the older Gradio call: `predict_script.py URL PICTURE CLIP`."""

import base64
import sys

import requests

url, image_path, clip_path = sys.argv[1:4]
with open(image_path, "rb") as f:
    image_data = base64.b64encode(f.read()).decode("utf-8")

payload = {
    "data": [
        {"name": "input.jpg", "data": f"data:image/jpeg;base64,{image_data}"},
        "a person slowly turning around",
        "256p",
        8,
        8,
        1,
        1.0,
    ]
}
response = requests.post(f"{url}/api/predict", json=payload, timeout=300)
if response.status_code == 200:
    video_url = response.json()["data"][0]
    video = requests.get(video_url, timeout=60)
    with open(clip_path, "wb") as f:
        f.write(video.content)
    print(f"saved: {clip_path}")
else:
    print(f"failed: {response.text}")
    sys.exit(1)

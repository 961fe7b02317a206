"""How the built-in model is made: pictures drawn, clips warped, parts trained, the folder written.

Outside the request path: nothing here is imported when a video is made.
"""

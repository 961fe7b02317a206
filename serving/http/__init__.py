"""The HTTP API on FastAPI: parsing, objects, errors. Knows the use cases, and nothing of Ray or the engine."""

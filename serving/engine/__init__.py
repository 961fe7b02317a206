"""I2VGen-XL: a picture and a request in, frames out. Knows nothing of HTTP, Ray or MP4."""

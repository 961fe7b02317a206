"""Thin Ray Serve classes around `serving`: wiring, and nothing about video."""

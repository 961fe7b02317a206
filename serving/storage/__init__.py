"""Assets by key: pictures in, clips out, in a directory or on S3. Knows nothing of HTTP, Ray or jobs."""

from __future__ import annotations

from pathlib import Path

from serving.storage.contract import CHUNK_BYTES, Entry, Storage, check_key, job_of_output, output_name
from serving.storage.directory import DirectoryStorage
from serving.storage.s3 import S3Storage

__all__ = [
    "CHUNK_BYTES",
    "DirectoryStorage",
    "Entry",
    "S3Storage",
    "Storage",
    "check_key",
    "job_of_output",
    "open_storage",
    "output_name",
]


def open_storage(url_or_path: str | Path) -> Storage:
    """The storage at "s3://bucket/prefix", or in a directory. Asks nothing of it yet.

    Raises:
        ConfigurationInvalid: the URL, or an AWS_* variable, cannot be used.
    """
    if isinstance(url_or_path, str) and "://" in url_or_path:
        return S3Storage(url_or_path)
    return DirectoryStorage(url_or_path)

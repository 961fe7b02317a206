"""Many clips at once: a sheet or a folder in, clips and a manifest out. Knows nothing of what runs behind the API."""

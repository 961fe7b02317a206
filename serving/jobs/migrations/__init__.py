"""The job store's schema, step by step."""

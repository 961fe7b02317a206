"""Durable video jobs: the records, the queue and its leases, in SQLite or PostgreSQL."""

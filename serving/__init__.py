"""The product: a durable queue of video jobs, and cards that take the best job they can hold. Never imports ray."""

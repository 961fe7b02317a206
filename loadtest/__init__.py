"""Load tests: raw results first, the report after."""

"""The reload matrix, measured on the pinned servers: `python -m tests.matrix`."""

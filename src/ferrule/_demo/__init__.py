"""The sections of `python -m ferrule`, one module for each room; `job` holds what they share."""

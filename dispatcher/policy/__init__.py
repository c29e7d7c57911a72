"""Decisions: pure functions from values and the time to a value."""

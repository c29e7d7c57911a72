"""Suggestions for misspelled words, for rules and settings."""

from __future__ import annotations

from midjourney.nearest import nearest as nearest

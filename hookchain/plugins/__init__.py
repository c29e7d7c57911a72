"""Plugins that come along. They import `hookchain` alone, so that a copy of one works unchanged."""

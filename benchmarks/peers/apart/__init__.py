"""Modules that run in the peers' environment, where nothing of this repository can be imported."""

"""Runs the receivers of plugins in threads and loops where they can freeze only their own plugin."""

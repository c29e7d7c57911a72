"""What comes in: HTTP. Callbacks, the JSON API, health."""

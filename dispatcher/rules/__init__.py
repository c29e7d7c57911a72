"""Rules: receivers written in TOML."""

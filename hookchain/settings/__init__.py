"""The configuration: hookchain.toml and the environment, validated and merged."""

"""Programs that others use for the same work. `make bench` installs and measures them; nothing else here needs them."""

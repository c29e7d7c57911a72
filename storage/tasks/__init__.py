"""Tasks: the state of each, what the upstream confirmed, and which ones to poll."""

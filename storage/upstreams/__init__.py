"""State of upstreams that all processes share: limits, pauses, hooks, and facts about their lists."""

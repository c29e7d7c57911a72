"""What known clients of midjourney-proxy style APIs ask, and what they need of the answers."""

"""What clients of the gateway order, and what they are told."""

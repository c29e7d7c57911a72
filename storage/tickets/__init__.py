"""What clients of the gateway ordered: tickets, and what is known of each."""

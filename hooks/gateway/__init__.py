"""What clients order through hookchain."""

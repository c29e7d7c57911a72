"""What is decided and done: signals, receivers, rules, and the loops that work through the tables."""

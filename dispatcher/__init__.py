"""Signals, receivers, rules, and the loops that work through the tables."""

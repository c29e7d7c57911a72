"""Joins: the signals that several ends give together, when a chain comes to rest or all children of a task are done."""

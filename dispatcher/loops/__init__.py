"""Loops: chores that run by themselves. They do not import each other; they share storage and policy."""

"""Budgets: the plan from the settings, the counters, and the charges of submissions."""

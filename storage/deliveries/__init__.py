"""Deliveries of events to receivers: fanned out, claimed, ended."""

"""Durable work: the states and the protocol that deliveries and submissions share."""

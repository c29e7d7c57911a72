"""Clients of the gateway in the database: their stored keys."""

"""Approvals at work: what one is about in plain words, the messages that ask for it, its decision, and its expiry."""

"""The web pages: chains, what needs a person's decision, and the state of the system."""

"""The pages for people: their chains, what waits for them, and how all is doing."""

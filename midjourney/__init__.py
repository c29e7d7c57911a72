"""What the other side speaks: types, codes, dialects, client, and a stand-in for it, the sandbox."""

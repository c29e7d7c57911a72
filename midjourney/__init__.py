"""The midjourney-proxy protocol: types, codes, dialects, the client, and a sandbox upstream."""

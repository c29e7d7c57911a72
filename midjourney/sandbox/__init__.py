"""A stand-in for a midjourney-proxy server: it speaks, stalls and forgets as the real ones do, and costs nothing."""

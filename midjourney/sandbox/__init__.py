"""A simulated midjourney-proxy server that answers, stalls and loses callbacks as the real ones do, and costs nothing."""

"""HTTP/1.1 as real senders speak it."""

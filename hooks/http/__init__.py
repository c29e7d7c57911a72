"""HTTP/1.1 as senders really speak it."""

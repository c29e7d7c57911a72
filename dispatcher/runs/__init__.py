"""One run of a receiver for a delivery: preflight → verify → call. Each stage gives the next one its input, or ends the run."""

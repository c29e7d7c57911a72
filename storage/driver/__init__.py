"""The two databases: connections, the writer, row locks, wake-ups. Independent of what is written."""

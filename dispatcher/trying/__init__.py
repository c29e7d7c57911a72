"""Tries rules on what happened: the server's own parts over a database in memory, with the time of the past. Nothing is sent or kept."""

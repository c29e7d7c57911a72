"""The database, and the only SQL in hookchain. Functions take a connection first and return records."""

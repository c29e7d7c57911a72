"""What is kept, and the only SQL. Functions take a connection first and return records."""

"""Long texts that requests refer to: files beside SQLite, rows of PostgreSQL."""

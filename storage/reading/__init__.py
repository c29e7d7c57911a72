"""Read-only queries for pages, API and command line."""

"""The JSON API for programs and the command line."""

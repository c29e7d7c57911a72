"""Commands of people: by API, page or command line."""

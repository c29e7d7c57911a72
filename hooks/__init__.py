"""Everything that arrives by HTTP: callbacks, the JSON API, the dashboard and health checks."""

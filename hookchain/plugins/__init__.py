"""Built-in plugins. They import only `hookchain`, so that a copy of one works unchanged."""

"""Pictures of tasks from our own address, for pages that load nothing from elsewhere."""

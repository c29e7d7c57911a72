"""Serves pictures of tasks from our own address, because the pages load nothing from elsewhere."""

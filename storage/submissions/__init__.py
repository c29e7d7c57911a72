"""Submissions: staging once per intent, sending, settling."""

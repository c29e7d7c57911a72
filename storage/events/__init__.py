"""Events, and the callbacks that were refused or quarantined."""

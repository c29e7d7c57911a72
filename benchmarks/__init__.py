"""Benchmarks of hookchain: `make bench`. Compare ratios within one run, since machines differ and drift."""

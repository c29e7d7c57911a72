"""Warnings about rules that are valid and cannot mean what they say: a part that is never true, a rule that triggers itself, and so on.

Each kind of warning has a module with one pure function over a rule and its parsed condition. A warning is answered by writing the
rule differently, and its remedy says how. Where anything is unknown, there is no warning: a false alarm costs more than a late one.
"""

"""The JSON API: what programs and the command line ask and tell."""

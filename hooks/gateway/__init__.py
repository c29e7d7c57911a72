"""The gateway: the family's own HTTP interface, for clients that believe that they talk to an upstream."""

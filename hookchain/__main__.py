"""`python -m hookchain`."""

from hookchain.cli import main

if __name__ == "__main__":
    main()

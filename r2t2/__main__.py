"""`python -m r2t2`."""

from r2t2.cli import main

main()

"""``python -m skewguard.cli``."""

from skewguard.cli import main

main()

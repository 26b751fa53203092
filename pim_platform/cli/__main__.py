"""``python -m pim_platform.cli`` is ``pim``."""

from pim_platform.cli import main

main()

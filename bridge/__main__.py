"""`python -m bridge` is `neuroscope-bridge`."""

from bridge.cli import main

main(prog_name="neuroscope-bridge")

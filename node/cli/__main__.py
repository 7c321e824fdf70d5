"""Runs the command as a module: ``python -m node.cli``."""

from node.cli.main import run

run()

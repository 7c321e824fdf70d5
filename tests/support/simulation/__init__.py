"""A cluster in one process, with a seed for every failure.

``plan.py`` makes a schedule from a seed: who does what, what goes wrong, when. ``world.py`` plays a
schedule with real replicas over a simulated network, disks and clocks. ``laws.py`` stands outside
and checks. ``hostile.py`` holds the nodes that stop at nothing. ``shrink.py`` makes a failing
schedule small. How to read a failing run: docs/testing.md.
"""

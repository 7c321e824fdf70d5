"""The commands of "gangline inspect"."""

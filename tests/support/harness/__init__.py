"""Real daemons and replicas that a test drives."""

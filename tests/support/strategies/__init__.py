"""What Hypothesis draws."""

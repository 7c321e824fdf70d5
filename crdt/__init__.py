"""What is true: records, verdicts and the views folded from them. Pure."""

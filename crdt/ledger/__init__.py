"""All known records, with their verdicts and slots."""

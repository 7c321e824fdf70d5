"""Values and bounds that know nothing of records."""

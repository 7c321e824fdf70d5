"""Values and limits that do not depend on records."""

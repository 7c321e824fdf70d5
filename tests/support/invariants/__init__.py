"""Laws that hold over any run, whatever ran."""

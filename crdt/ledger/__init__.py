"""Every known record, its verdict and its place."""

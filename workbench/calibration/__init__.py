"""One engine for constants that are fitted to measurements."""

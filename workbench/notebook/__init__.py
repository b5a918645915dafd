"""One notebook: its parameters, a run, its page."""

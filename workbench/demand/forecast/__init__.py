"""What was disclosed, and how well it was predicted."""

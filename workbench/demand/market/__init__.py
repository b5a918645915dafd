"""Supply, demand and price over time."""

"""What compute is used for: users, agents, training."""

"""Training: a step, its time and memory, and all layouts of a job."""

"""Training: optimizers, schedules, the worker pool, and one update after the other."""

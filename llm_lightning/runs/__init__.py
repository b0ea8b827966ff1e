"""One run's life: find, build, fit, evaluate, record."""

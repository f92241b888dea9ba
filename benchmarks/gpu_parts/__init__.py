"""What `benchmarks.training_gpu` checks and measures, a file for each kind."""

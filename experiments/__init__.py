"""What a researcher launches: data, tasks, training, evaluation, reports, benchmarks."""

"""Running: programs, instances, the native runner and its threads, reports, artifacts."""

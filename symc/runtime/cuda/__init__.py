"""NVIDIA GPUs as devices: what is asked of a driver, device memory, and the runner of graphs."""

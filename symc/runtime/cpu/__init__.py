"""The CPU as a device: host memory, and the native runner with its threads."""

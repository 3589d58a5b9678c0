"""What proves symc where the hardware is missing: PTX run by NumPy, and a CUDA driver over it."""

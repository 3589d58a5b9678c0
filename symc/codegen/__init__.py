"""Code generation: what a kernel call is, the kernel cache, and one package for each kind of device."""

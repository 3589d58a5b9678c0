"""LLVM IR for any device and any number of lanes: values, expressions, functions, loops, memory."""

"""The graph: nodes, values, facts, the builder, the printed form, and the kernel graph that lowering produces."""

"""Random parameter sets of every operator, drawn from fixed seeds; MXNet's answers to them, and symc against these."""

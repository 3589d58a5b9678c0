"""What families of operators share: each rule gives shape, dtype, lowering and gradient to many of them."""

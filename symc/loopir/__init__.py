"""What a kernel is: scalar primitives, index expressions, nests and contractions, and the interpreter that defines them."""

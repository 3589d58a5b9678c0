"""What a kernel is: scalar primitives, index expressions, nests, contractions and the interpreter that defines them."""

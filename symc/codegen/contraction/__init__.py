"""Matrix products and convolutions, as far as no device matters.

plan.py       a decision as a value; each device adds its own to it
geometry.py   which positions of the source each row and tap reads
sight.py      what rows see of it, and what tiles of rows visit
tables.py     that as integers, for kernels to walk: padding, stride, dilation and batch are nowhere else
epilogue.py   what happens to the finished sums
panels.py     weights in the order in which tiles read them
winograd.py   Winograd's algorithm: its matrices, tiles and packing
"""

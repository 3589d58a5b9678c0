"""Matrix products and convolutions, as far as no device matters: decisions as values, geometry, epilogues, packings."""

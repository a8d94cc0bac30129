"""Book-keeping: one forward pass, one backward pass to the results of weighted nodes, and sums from what was kept.

Nouns: pass (forward and backward over one block of rows), layer (a weighted node: its kept input, the gradient of its
output, and from both the norms and the clipped sum).

Rules
-----
1. Arithmetic is float32. Norms are taken in float64 from what is summed afterwards, so that they hold for the very
   numbers that leave: `bounds`.
2. Nothing is kept from one micro-batch to the next but buffers that are overwritten.
3. The weights' gradients over a batch are never formed by autograd: it is asked for the outputs of weighted nodes only.

Reference: Goodfellow 2015 (arXiv 1510.01799) for norms from inputs and output gradients; Bu et al. 2023 (arXiv
2210.00038) for the book-keeping of one backward pass.
"""

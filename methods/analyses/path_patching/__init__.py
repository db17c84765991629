"""Path patching of arithmetic on one model: the analyses of arXiv:2409.01659."""

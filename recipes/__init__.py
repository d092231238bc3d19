"""One honest example for each field, on real data: `make recipes`, or ``python -m recipes speech``.

Each recipe trains a small network once, freezes it in a bundle and lets its head go on learning, one row at a time: a
row is predicted before its label is learned. Beside it stand the frozen head, the gradient learner, a naive rule that
needs no network, and a peer from scikit-learn. docs/recipes/ says what came out and where learning does not pay.
"""

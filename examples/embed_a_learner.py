"""A learner in a program of your own: predict, and learn when the label comes.

    python examples/embed_a_learner.py model.hwb stream.npz

stream.npz holds windows x (n, *input_shape) in time order and class indices y (n,), as for ``edge-agent replay``.
"""

import sys

import numpy as np

from edge_agent import Learner

learner = Learner.open(sys.argv[1])
stream = np.load(sys.argv[2])
for window, index in zip(stream["x"], stream["y"], strict=True):
    answer = learner.observe(window)  # predict, and remember the window
    learner.label(answer.id, learner.classes[index])  # here at once; it may come days later, or never
print(f"{learner.metrics['accuracy']:.1%} of {len(stream['x'])} windows right, the {learner.serving} head serves now")
learner.save("learned.state")  # Learner.open(...).load("learned.state") goes on from here, to the bit

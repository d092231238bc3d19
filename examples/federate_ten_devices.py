"""What a fleet does, without MQTT: ten devices, one head, and one device taken out again exactly.

    python examples/federate_ten_devices.py

Each device keeps integer sums over its labelled samples (Gram matrix and class sums). Integers add without rounding:
the server's sum is the one it would have made from all samples in one place, and what it subtracts is really gone.
Data: the handwritten digits of scikit-learn (pip install scikit-learn); its pixels serve as the features.
"""

import numpy as np
from sklearn.datasets import load_digits

from headway.maths import FeatureMap, Statistics, calibrate_scale, fleet_head, merge, predicted_class

DEVICES = 10
CLASSES = tuple(str(digit) for digit in range(10))

# 1. Where the model was trained: 100 samples give the scale of the int8 codes and the first statistics.
pixels, digits = load_digits(return_X_y=True)
x, y = pixels.astype(np.float32), digits.astype(np.int64)
training, fleet, later = np.split(np.random.default_rng(0).permutation(len(x)), [100, 1000])
features = FeatureMap(x.shape[1], calibrate_scale(x[training]))
space = features.fingerprint("pixels")  # statistics of other features cannot be added by mistake


def statistics(rows):
    """Everything a linear head can learn from these rows: two tables of integers, whatever the number of rows."""
    codes, _ = features.codes(x[rows])  # int8 (n, d)
    return Statistics.of(codes, y[rows], CLASSES, space)


def accuracy(head):
    """On samples that nobody learned from."""
    codes, _ = features.codes(x[later])
    return float((predicted_class(head.logits(codes.astype(np.float32))) == y[later]).mean())


# 2. Each device learns from its own samples. They stay there; the tables travel.
source = statistics(training)
devices = [statistics(rows) for rows in np.array_split(fleet, DEVICES)]

# 3. The server adds what it was sent, and solves the head in closed form (linear discriminant analysis).
total = merge(devices)
head = fleet_head(source, total)
print(f"as shipped          {accuracy(fleet_head(source, Statistics.zeros(source.size, CLASSES, space))):.1%}")
print(f"one device alone    {accuracy(fleet_head(source, devices[0])):.1%}")
print(f"fleet of {DEVICES}         {accuracy(head):.1%}")
assert total == statistics(fleet), "the sum is that of one place, to the bit"

# 4. Device 3 leaves. Its samples are gone as if they had never been there.
left = fleet_head(source, total - devices[3])
never = fleet_head(source, merge(devices[:3] + devices[4:]))
assert np.array_equal(left.kernel, never.kernel), "nothing of device 3 is left, to the bit"
print(f"without device 3    {accuracy(left):.1%}, the same head as if it had never taken part")

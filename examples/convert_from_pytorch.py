"""From a PyTorch model to a bundle, through ONNX.

    python examples/convert_from_pytorch.py model.hwb

Trains a small network on the handwritten digits of scikit-learn, exports it, converts it, and asks the bundle.
Needs: pip install torch onnxscript scikit-learn 'headway[converter]'.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from converter import Options, convert
from edge_agent import Learner

try:
    import torch
except ImportError:
    sys.exit("this example needs PyTorch: pip install torch onnxscript")

pixels, digits = load_digits(return_X_y=True)
x, y = (pixels / 16).astype(np.float32), digits.astype(np.int64)
old, new = slice(0, 1000), slice(1000, None)

# 1. A model as you have it: any backbone that ends in a linear layer.
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(200):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(torch.from_numpy(x[old])), torch.from_numpy(y[old])).backward()
    optimizer.step()

# 2. PyTorch writes ONNX; the number of windows stays open.
with tempfile.TemporaryDirectory() as folder:
    exported = Path(folder, "digits.onnx")
    one = torch.from_numpy(x[:1])
    torch.onnx.export(model.eval(), (one,), exported, dynamic_shapes=({0: "n"},), verbose=False)

    # 3. The converter cuts it before its last linear layer, proves that both match, and writes the bundle.
    classes = [str(digit) for digit in range(10)]
    report = convert(exported, (x[old], y[old], classes), Options(formats=("onnx",)), out=sys.argv[1])
print("\n".join(report.lines()))

# 4. The bundle answers as the model does, and goes on learning.
learner = Learner.open(sys.argv[1])
print(f"on digits it never saw: {learner.score(x[new], y[new]):.1%}")

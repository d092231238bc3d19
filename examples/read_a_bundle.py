"""What is in a bundle: the manifest, the classes, the statistics and the windows a device checks itself with.

    python examples/read_a_bundle.py model.hwb

Reading verifies every hash. The format is docs/bundle-format.md; ``edge-convert inspect model.hwb`` prints a summary.
"""

import json
import sys
from pathlib import Path

from headway.bundle import read_container, read_variant

path = Path(sys.argv[1])

container = read_container(path)
print(f"bundle {container.sha256[:12]}, {'signed' if container.signature else 'not signed'}")
for name, payload in container.members.items():
    print(f"  {name:28} {len(payload):>10,} bytes")
print(json.dumps({key: value for key, value in container.manifest.items() if key != "members"}, indent=2))

variant = read_variant(path)
print(f"\n{variant.name} {variant.version}, release {variant.release}: windows {variant.input_shape} -> {variant.task}")
print("backbones:  ", ", ".join(f"{backbone.engine} {backbone.precision}" for backbone in variant.backbones))
print(f"features:    {variant.features.size} int8 codes")

print(f"statistics:  {variant.training_statistics.samples} training samples")
for name, count in zip(variant.training_statistics.classes, variant.training_statistics.counts, strict=True):
    print(f"  {name:28} {count:>10,}")

print(f"probes:      {len(variant.probe_inputs)} windows and what the source model makes of them")
for window, embedding in zip(variant.probe_inputs[:3], variant.probe_embedding[:3], strict=True):
    print(f"  mean {window.mean():9.4f}  ->  embedding {embedding[:4].round(3)} ...")

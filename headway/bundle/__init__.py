"""The bundle: one signed file with the frozen backbone, the head and all that learning on a device needs."""

from headway.bundle.container import MAGIC, decode_container, read_container
from headway.bundle.ed25519 import checks_are_quick, signed_by
from headway.bundle.head_weights import (
    feature_energy,
    fold_frozen_head,
    head_over_codes,
    target_scale,
    weights_over_unit_codes,
)
from headway.bundle.signing import PUBLIC_KEY_PREFIX, read_public_key, read_public_keys
from headway.bundle.variant import FEATURES_MAX, Backbone, TrainingRows, Variant, decode_variant, read_variant

__all__ = [
    "FEATURES_MAX",
    "MAGIC",
    "PUBLIC_KEY_PREFIX",
    "Backbone",
    "TrainingRows",
    "Variant",
    "checks_are_quick",
    "decode_container",
    "decode_variant",
    "feature_energy",
    "fold_frozen_head",
    "head_over_codes",
    "read_container",
    "read_public_key",
    "read_public_keys",
    "read_variant",
    "signed_by",
    "target_scale",
    "weights_over_unit_codes",
]

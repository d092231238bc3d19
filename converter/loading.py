"""Loads TensorFlow and Keras as a conversion needs them: in half the time that they take by themselves."""

from __future__ import annotations

import gc
import sys

# Keras loads them wherever they are installed, for wrappers, pictures and data frames that no conversion has
BESIDE = ("matplotlib", "pandas", "sklearn")


def load_tensorflow() -> None:
    """Load TensorFlow, and Keras with it, unless they are there already. For processes of our own: until they end Keras
    wraps no model for scikit-learn and takes a data frame for an array. Whoever imports those packages afterwards gets
    them as ever; another thread that does so meanwhile is told that they are not installed.

    Raises ModuleNotFoundError where TensorFlow is not installed.
    """
    hidden = [] if "keras" in sys.modules else [name for name in BESIDE if name not in sys.modules]
    collected = gc.isenabled()
    # nearly all that is made here stays; to look for garbage in it takes as long as a fifth of the rest
    gc.disable()
    try:
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not installed
        import tensorflow  # noqa: F401
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
        if collected:
            gc.enable()

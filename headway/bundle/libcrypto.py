"""The libcrypto that Python's own hashlib has loaded already, asked about Ed25519 signatures.

Nothing is loaded for it: a check costs a tenth of a millisecond where a process costs five, and no memory to speak of.
A Python that was linked without a libcrypto of its own has none to ask. Functions: OpenSSL 1.1.1 and later,
EVP_DigestVerify(3).
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from functools import cache
from pathlib import Path

MAPPINGS = Path("/proc/self/maps")
LOADED = re.compile(r"\s(/\S*/libcrypto[^/\s]*\.so[^/\s]*)$", re.MULTILINE)
ED25519 = 1087  # EVP_PKEY_ED25519
KEY_BYTES, SIGNATURE_BYTES = 32, 64
# RFC 8032, 7.1, test 2: what tells whether the functions are what they are taken for
KNOWN_KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
KNOWN_MESSAGE = b"\x72"
KNOWN_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
# the functions, as evp.h and err.h declare them
_NEW = ctypes.CFUNCTYPE(ctypes.c_void_p)
_FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_KEY_OF = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
_BEGIN = ctypes.CFUNCTYPE(ctypes.c_int, *(ctypes.c_void_p,) * 5)
_VERIFY = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t
)
_FORGET = ctypes.CFUNCTYPE(None)


class Libcrypto:
    """path: of a shared library. Raises OSError or AttributeError for one that does not have the functions."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self._new_key = _KEY_OF(("EVP_PKEY_new_raw_public_key", library))
        self._free_key = _FREE(("EVP_PKEY_free", library))
        self._new_context = _NEW(("EVP_MD_CTX_new", library))
        self._free_context = _FREE(("EVP_MD_CTX_free", library))
        self._begin = _BEGIN(("EVP_DigestVerifyInit", library))
        self._verify = _VERIFY(("EVP_DigestVerify", library))
        self._forget_errors = _FORGET(("ERR_clear_error", library))

    def verifies(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the holder of `public_key` signed the message."""
        if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
            return False
        key, context = self._new_key(ED25519, None, public_key, KEY_BYTES), self._new_context()
        try:
            begun = bool(key) and bool(context) and self._begin(context, None, None, None, key) == 1
            return begun and self._verify(context, signature, len(signature), message, len(message)) == 1
        finally:
            self._free_context(context)
            self._free_key(key)
            # a refusal is noted for the thread, and TLS might take the note for one of its own
            self._forget_errors()


@cache
def loaded_libcrypto() -> Libcrypto | None:
    """The one in this process; None where there is none, or it does not check Ed25519 as RFC 8032 has it."""
    hashlib.sha256()  # which loads it
    try:
        # names of other files in it are in whatever encoding
        found = LOADED.search(MAPPINGS.read_text("utf-8", "surrogateescape"))
        library = None if found is None else Libcrypto(found[1])
    except (OSError, AttributeError):
        return None
    return library if library is not None and _answers_rightly(library) else None


def _answers_rightly(library: Libcrypto) -> bool:
    altered = KNOWN_SIGNATURE[:-1] + b"\x01"
    good = library.verifies(KNOWN_KEY, KNOWN_MESSAGE, KNOWN_SIGNATURE)
    return good and not library.verifies(KNOWN_KEY, KNOWN_MESSAGE, altered)

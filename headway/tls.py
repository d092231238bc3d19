"""TLS contexts beside the broker's: an authority that is known, and one that is yet to be known by its fingerprint."""

from __future__ import annotations

import ssl

from headway.errors import ConfigError


def context_of_authority(pem: str) -> ssl.SSLContext:
    """The server's certificate must be signed by this authority and pass the strict check (RFC 5280).

    The address is not compared: the caller looks at the name in the certificate. Raises ConfigError.
    """
    try:
        context = ssl.create_default_context(cadata=pem)
    except ssl.SSLError as error:
        raise ConfigError(f"the authority's certificate cannot be used: {error.reason}") from error
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    return context


def unchecked_context() -> ssl.SSLContext:
    """Checks nothing: for what is public, and is checked by its digest afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

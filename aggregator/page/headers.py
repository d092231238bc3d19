"""Headers of every answer of the page: nothing from elsewhere, nothing inline, in nobody's frame."""

from __future__ import annotations

from aggregator.api import Headers

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Headers = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"vary", b"Cookie, HX-Request"),
)
# of everything that is not an asset: nothing of a fleet stays in a browser after log-out
NEVER_KEPT = {"Cache-Control": "no-store"}

"""Settings of the API: the ``[api]`` table of aggregator.toml."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from headway.errors import ConfigError
from headway.settings import integer, optional_path, text, texts


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where `edge-fleet api` listens, whom it trusts, and how much it takes. Raises ConfigError for an address that is
    none."""

    listen: str = text("127.0.0.1", doc="Address on which edge-fleet api listens; loopback, unless you open it.")
    port: int = integer(8885, low=1, high=65_535, doc="Port on which edge-fleet api listens.")
    cert_file: Path | None = optional_path(
        doc="Certificate with which it speaks TLS, PEM; needed beyond loopback without a trusted proxy.",
        example="/etc/headway/api.pem",
    )
    key_file: Path | None = optional_path(doc="Private key of that certificate, PEM.", example="/etc/headway/api.key")
    trusted_proxies: tuple[str, ...] = texts(
        (),
        count_max=16,
        doc="Addresses or networks of proxies that have checked who asks and say so in user_header.",
        example=("127.0.0.1",),
    )
    user_header: str = text("X-Forwarded-User", doc="Header in which a trusted proxy names the user.")
    requests_per_minute: int = integer(
        600, low=1, high=1_000_000, doc="Requests of one user a minute, at once or spread."
    )
    requests_per_address_minute: int = integer(
        1200, low=1, high=1_000_000, doc="Requests of one address a minute, whoever asks."
    )
    logins_per_address_minute: int = integer(
        10, low=1, high=10_000, doc="Passwords and unknown tokens that one address may try a minute."
    )
    bundle_bytes_max: int = integer(
        268_435_456, low=1, high=2**40, doc="Size of a bundle that may be uploaded, in bytes."
    )
    bundles_max: int = integer(
        100, low=1, high=10_000, doc="Bundles that are kept; beyond it none can be uploaded until one is deleted."
    )
    public_key: Path | None = optional_path(
        doc="Refuse uploads that are not signed with this key.", example="/etc/headway/bundles.pub"
    )

    def __post_init__(self) -> None:
        for named in self.trusted_proxies:
            try:
                ipaddress.ip_network(named, strict=False)
            except ValueError as error:
                raise ConfigError(
                    f"trusted_proxies in [api]: {named!r} is no address or network; write 10.0.0.2 or 10.0.0.0/8"
                ) from error
        if (self.cert_file is None) != (self.key_file is None):
            raise ConfigError("[api] needs both cert_file and key_file, or neither")

    def trusts(self, address: str) -> bool:
        """Whether requests from there come through a trusted proxy."""
        try:
            asking = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(asking in ipaddress.ip_network(named, strict=False) for named in self.trusted_proxies)

    @property
    def exposed(self) -> bool:
        """Whether secrets would travel in the clear beyond this machine."""
        try:
            loopback = ipaddress.ip_address(self.listen).is_loopback
        except ValueError:
            loopback = self.listen == "localhost"
        return not loopback and self.cert_file is None and not self.trusted_proxies

"""The certificate files a front serves TLS with."""

from dataclasses import dataclass
from pathlib import Path

from cuelight.server.errors import ConfigError

__all__ = ["TlsFiles"]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With `client_ca_file` set, clients must present a certificate that it signed."""

    certificate_file: Path
    private_key_file: Path
    client_ca_file: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.certificate_file, self.private_key_file, self.client_ca_file):
            if path is not None and not path.is_file():
                raise ConfigError(f"tls: no such file: {path}")

    def certificate_chain(self) -> bytes:
        """Return the certificate chain, PEM."""
        return self.certificate_file.read_bytes()

    def private_key(self) -> bytes:
        """Return the private key, PEM."""
        return self.private_key_file.read_bytes()

    def client_ca(self) -> bytes | None:
        """Return the CA that client certificates must be signed by, PEM; None when clients need no certificate."""
        return None if self.client_ca_file is None else self.client_ca_file.read_bytes()

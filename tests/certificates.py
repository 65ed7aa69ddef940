"""Certificates for a test: an authority of its own, a server's certificate and a client's, made with openssl."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OPENSSL = shutil.which("openssl")
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificates:
    """PEM files."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and what it signed; the server's certificate is for 127.0.0.1."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    _openssl("req", "-x509", *KEY, "-subj", "/CN=test authority", "-days", "2", "-keyout", ca_key, "-out", ca)
    server, server_key = _signed(folder, "server", "subjectAltName=IP:127.0.0.1", ca, ca_key)
    client, client_key = _signed(folder, "client", "extendedKeyUsage=clientAuth", ca, ca_key)
    return Certificates(ca, server, server_key, client, client_key)


def _signed(folder: Path, name: str, extension: str, ca: Path, ca_key: Path) -> tuple[Path, Path]:
    certificate, key, request, extensions = (folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
    extensions.write_text(extension)
    _openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    signing = ("-CA", ca, "-CAkey", ca_key, "-set_serial", "1", "-days", "2", "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, *signing, "-out", certificate)
    return certificate, key


def _openssl(*arguments: str | Path) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *(str(argument) for argument in arguments)], check=True, capture_output=True)

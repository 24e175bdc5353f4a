"""Certificates for tests: an authority of our own, and servers that it vouches for."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}
FORMS = {"PKCS#8": PrivateFormat.PKCS8, "older": PrivateFormat.TraditionalOpenSSL}


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Signs for 127.0.0.1 and localhost; `file` is its certificate, in PEM."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "ca.crt"
        self._key = KEYS["P-256"]()
        self._name = _named("wasmhold tests")
        made = self._signed(self._name, self._key, timedelta(days=2), is_authority=True)
        self.file.write_bytes(made.public_bytes(Encoding.PEM))

    def issue(
        self,
        *,
        key: str = "P-256",
        form: str = "PKCS#8",
        password: bytes | None = None,
        valid: timedelta = timedelta(days=1),
    ) -> tuple[bytes, bytes, int]:
        """A certificate and its key in PEM, and its serial number."""
        made = KEYS[key]()
        certificate = self._signed(_named("localhost"), made, valid)
        hidden = NoEncryption() if password is None else BestAvailableEncryption(password)
        private = made.private_bytes(Encoding.PEM, FORMS[form], hidden)
        chain = certificate.public_bytes(Encoding.PEM) + self.file.read_bytes()
        return chain, private, certificate.serial_number

    def files(self, **wanted) -> tuple[Path, Path]:
        """`issue`, into the files that a server reads."""
        chain, key, _ = self.issue(**wanted)
        paths = self.folder / "tls.crt", self.folder / "tls.key"
        for path, content in zip(paths, (chain, key), strict=True):
            path.write_bytes(content)
            path.chmod(0o600)
        return paths

    def context(self) -> ssl.SSLContext:
        """A client's, that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.file))

    def _signed(self, name, key, valid: timedelta, *, is_authority: bool = False):
        now = datetime.now(UTC)
        names = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + valid)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), True)
            .add_extension(x509.SubjectAlternativeName(names), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
        )
        if is_authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, True)
        return builder.sign(self._key, hashes.SHA256())


def serial(port: int, authority: Authority) -> int:
    """The serial number of what is served on `port` of 127.0.0.1."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(authority.file), timeout=20)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number

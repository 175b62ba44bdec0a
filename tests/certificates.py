"""A certificate authority of our own, and what it signs."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Authority:
    """Signs certificates; its own stands in `file`."""

    def __init__(self, folder: Path) -> None:
        """Begin with its own certificate."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Our own")])
        now = datetime.now(UTC)
        own = self._builder(self._name, self._key, now - _DAY, now + _DAY).add_extension(
            x509.BasicConstraints(True, None), True
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, name: str = "127.0.0.1", begins_in_days: float = -1, lasts_days: float = 2) -> ssl.SSLContext:
        """How a server of that name greets."""
        key = ec.generate_private_key(ec.SECP256R1())
        begin = datetime.now(UTC) + begins_in_days * _DAY
        try:
            who: x509.GeneralName = x509.IPAddress(ip_address(name))
        except ValueError:
            who = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            self._builder(subject, key, begin, begin + lasts_days * _DAY)
            .add_extension(x509.SubjectAlternativeName([who]), False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / "server.pem"
        plain = serialization.NoEncryption()
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
            + made.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

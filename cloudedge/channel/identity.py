"""A node's own key, and the certificate by which others know it."""

import contextlib
import os
import secrets
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloudedge.errors import InvalidInput
from cloudedge.files import TEMPORARY, disk_errors, sync_folder

VALID_DAYS = 20 * 365
"""As long as industrial machines stand. Whoever is no member any more is taken off the list, and that waits for no date."""

MAX_CERTIFICATE_BYTES = 8 * 1024
"""Of a certificate in PEM; ours have about 700."""

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
"""A computer without a battery for its clock begins there."""

_FILE = "identity.pem"


@dataclass(frozen=True)
class Identity:
    """A node's key and certificate.

    Attributes:
        key: Private key, PEM. For TLS only: nobody else may have it.
        certificate: PEM, signed by that key.
    """

    key: bytes
    certificate: str

    @property
    def fingerprint(self) -> str:
        """Digest by which others know the node."""
        return fingerprint(self.certificate)


def identity(folder: Path, name: str) -> Identity:
    """The node's identity: made the first time, the same ever after.

    Args:
        folder: Where it is kept, in one file that this user alone may read.
        name: Name of the node; a certificate that was made before keeps the name of then.

    Raises:
        InvalidInput: the file is none of ours.
        StoreFailed: the disk refuses.
    """
    path = folder / _FILE
    if not path.exists():
        _keep(made(name), path)
    with disk_errors(path):
        content = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(content, password=None)
        certificate = x509.load_pem_x509_certificate(content)
        if key.public_key() != certificate.public_key():
            raise ValueError("key and certificate do not belong together")
    except ValueError as error:
        raise InvalidInput(f"{path} holds no key and certificate: {error}. Remove it, and have this node join anew.") from None
    return Identity(_pem_of_key(key), certificate.public_bytes(serialization.Encoding.PEM).decode())  # type: ignore[arg-type]


def made(name: str, days: float = VALID_DAYS) -> Identity:
    """A new identity.

    Args:
        name: Name of the node, a DNS label.
        days: How long its certificate is valid from now on.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    # TLS finds whom to believe by the subject: no two certificates may have the same, two of one name neither.
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.SERIAL_NUMBER, secrets.token_hex(16))]
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(datetime.now(UTC) + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)  # It vouches for nobody else.
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(_pem_of_key(key), certificate.public_bytes(serialization.Encoding.PEM).decode())


def subject_of(certificate: str) -> bytes:
    """The subject of a certificate in PEM, by which TLS looks for whom to believe.

    Raises:
        InvalidInput: it is no certificate.
    """
    try:
        return x509.load_pem_x509_certificate(certificate.encode()).subject.public_bytes()
    except ValueError as error:
        raise InvalidInput(f"This is no certificate: {error}.") from None


def fingerprint(certificate: str) -> str:
    """SHA-256 of a certificate in PEM, as 64 hexadecimal digits.

    Raises:
        InvalidInput: it is no PEM.
    """
    try:
        return sha256(ssl.PEM_cert_to_DER_cert(certificate.strip())).hexdigest()
    except ValueError as error:
        raise InvalidInput(f"This is no certificate in PEM: {error}.") from None


def name_in(certificate: str) -> str:
    """The name that TLS finds in a certificate of ours.

    Raises:
        InvalidInput: it is none of ours.
    """
    return str(_parsed(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value[0].value)


def check_certificate(certificate: str) -> str:
    """Return a node's certificate as it is written here, if it is one that a node makes for itself.

    Raises:
        InvalidInput: it is too long, damaged, not signed by its own key, expired, or could vouch for others.
    """
    found = _parsed(certificate)
    try:
        found.verify_directly_issued_by(found)
    except Exception as error:
        raise InvalidInput("The certificate is not signed by its own key. Let the node make its own.") from error
    key = found.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("The certificate's key is not ECDSA P-256. Let the node make its own.")
    if found.not_valid_after_utc <= datetime.now(UTC):
        raise InvalidInput(f"The certificate ended on {found.not_valid_after_utc:%Y-%m-%d}. Let the node make its own.")
    return found.public_bytes(serialization.Encoding.PEM).decode()


def _parsed(certificate: str) -> x509.Certificate:
    if len(certificate) > MAX_CERTIFICATE_BYTES:
        raise InvalidInput(f"The certificate has {len(certificate):,} bytes, more than {MAX_CERTIFICATE_BYTES:,}.")
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        limits = found.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InvalidInput(f"This is no certificate of a node: {error}. Let the node make its own.") from None
    if limits.ca:
        raise InvalidInput("The certificate could vouch for others. Let the node make its own.")
    return found


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _keep(new: Identity, path: Path) -> None:
    """Write it whole or not at all, unreadable for others from the first moment; the first of two who do so wins."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)  # Only for its owner, as mkstemp makes files.
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(new.key + new.certificate.encode())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
            sync_folder(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)

"""Makes what a federation is secured with: a certificate of the server, and a key of each site."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY, CERTIFICATE, SERVER_KEY = "ca.pem", "server.pem", "server.key"
SITE_KEY, PUBLIC_KEY = "site.key", "site.pub"
_AUTHORITY_KEY = "ca.key"
_OURS = "Aloft federation"  # the authority's name
_CURVE = ec.SECP384R1  # one of those that Flower takes
_VALID = timedelta(days=825)


def make_certificate(folder: Path, host: str) -> None:
    """Write a certificate for a server's address, and the authority that vouches for it.

    Files that are there are kept, so that an organisation's own can be used; one that was made here
    for another address is made anew, by the same authority.

    Args:
        folder: Where `ca.pem`, `server.pem` and `server.key` are written.
        host: Name or address that sites reach the server by; loopback is always among them.
    """
    if (folder / CERTIFICATE).exists() and not _is_for_another(folder, host):
        return
    key_file = folder / _AUTHORITY_KEY
    if not key_file.exists():
        key = ec.generate_private_key(_CURVE())
        _write_secret(key_file, _pem(key))
        name = _name(_OURS)
        usage = x509.BasicConstraints(ca=True, path_length=0)
        authority = _certificate(name, name, key.public_key()).add_extension(usage, critical=True)
        (folder / AUTHORITY).write_bytes(_signed(authority, key))
    authority_key = load_pem_private_key(key_file.read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes()).subject
    key = ec.generate_private_key(_CURVE())
    names = x509.SubjectAlternativeName(_alternatives([host, "localhost", "127.0.0.1"]))
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    server = (
        _certificate(_name(host), issuer, key.public_key())
        .add_extension(names, critical=False)
        .add_extension(usages, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    _write_secret(folder / SERVER_KEY, _pem(key))
    (folder / CERTIFICATE).write_bytes(_signed(server, authority_key))


def _is_for_another(folder: Path, host: str) -> bool:
    """Whether the certificate was made here, for another address, and can be made anew."""
    known = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    if known.issuer != _name(_OURS) or not (folder / _AUTHORITY_KEY).exists():
        return False
    names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return not set(_alternatives([host])) <= set(names)


def make_site_key(folder: Path) -> None:
    """Write a site's private key and its public one, unless they are there."""
    if (folder / PUBLIC_KEY).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(_CURVE())
    _write_secret(
        folder / SITE_KEY,
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    )
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (folder / PUBLIC_KEY).write_bytes(public)


def _alternatives(hosts: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            found.append(x509.DNSName(host))
    return found


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: object) -> bytes:
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_secret(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)

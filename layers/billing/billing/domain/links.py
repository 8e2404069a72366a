"""Links that end, and those that may be given to a customer.

Omie signs the addresses of boletos and PDFs: they end after a day or less. A customer opens an invoice on its due date.
Only an address that names no end and lies in no store of signed files may leave this system.
"""

import re
from typing import Final

_SIGNED: Final = frozenset({
    "expires", "expiry", "expiration", "exp", "signature", "sig", "se", "awsaccesskeyid", "key-pair-id",
    "googleaccessid", "ttl", "validade", "validuntil", "valid_until", "valid-until",
})  # fmt: skip
"""Query parameters of signed addresses (S3, CloudFront, Google, Azure), and words for an end in any other."""
_SIGNED_FROM: Final = ("x-amz-", "x-goog-", "x-oss-", "expir")
"""How other such parameters begin: X-Amz-Signature, expires_at, expiresIn, expira."""
_STORES: Final = (
    "amazonaws.com", "amazonaws.com.cn", "cloudfront.net", "storage.googleapis.com", "blob.core.windows.net",
    "r2.cloudflarestorage.com", "digitaloceanspaces.com",
)  # fmt: skip
"""Hosts of file stores: without a signature such an address opens nothing, with one it ends."""
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)


def expires(link: str) -> bool:
    """Whether the address says by itself that it ends, also inside the address that it leads on to."""
    plain = _unquoted(_unquoted(link)).replace("&amp;", "&").casefold()
    names = re.findall(r"[?&;#]\s*([a-z0-9_-]+)=", plain)
    hosts = [found.rpartition("@")[2].partition(":")[0] for found in re.findall(r"//([^/?#\s]+)", plain)]
    signed = any(name in _SIGNED or name.startswith(_SIGNED_FROM) for name in names)
    return signed or any(host == store or host.endswith(f".{store}") for host in hosts for store in _STORES)


def _unquoted(text: str) -> str:
    return re.sub(r"%([2-7][0-9A-Fa-f])", lambda found: chr(int(found[1], 16)), text)


def lasting(link: str) -> str:
    """The address, if it may be given to a customer; else an empty text."""
    link = link.strip()
    return link if _ADDRESS.fullmatch(link) and not expires(link) else ""


def without_ending_links(text: str) -> str:
    """The text without the addresses in it that end."""
    return _ADDRESS.sub(lambda found: "" if expires(found[0]) else found[0], text)

"""The addresses that Omie hands out: one page that lasts, and signed files that end within a day."""

from typing import Final

CLICK: Final = "https://click.omie.com/r"
FILES: Final = "https://omie-documentos.s3.amazonaws.com"
LASTS: Final = 24 * 3600
"""Seconds after which a signed address opens nothing any more."""


def portal_link(nCodOS: int) -> str:
    """The customer's page of an order: boleto, NFS-e and XML, behind the first five digits of the CNPJ or CPF."""
    return f"{CLICK}/{nCodOS:x}"


def signed_link(kind: str, number: int, now: float) -> str:
    """A boleto's or a PDF's address, about as long as Omie's are (300 characters)."""
    signature = f"{number * 0x9E3779B97F4A7C15 % 2**256:064x}" * 3
    return f"{FILES}/{kind}/{number:x}.pdf?AWSAccessKeyId=AKIAEXAMPLE&Expires={int(now) + LASTS}&Signature={signature}"

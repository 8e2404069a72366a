"""What a call answers: the envelope, Omie's fault texts with their codes, and the two other error shapes.

Wordings with a code were seen live. Where only the text is known the code is the bare "SOAP-ENV:Client";
where neither is known the text follows Omie's manner, and no client should depend on it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

Json = dict[str, Any]

CLIENT = "SOAP-ENV:Client"
SERVER = "SOAP-ENV:Server"
JSON_TYPE = "application/json; charset=UTF-8"
HTML_TYPE = "text/html; charset=UTF-8"
HTML_502 = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
HTML_404 = "<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"


class Answer(NamedTuple):
    """One reply. `delay`: seconds until it leaves; `lost`: the connection breaks then, and nothing is sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    delay: float
    lost: bool


class OmieFault(Exception):  # noqa: N818 - Omie's own word
    """HTTP 500 with faultstring and faultcode; `code`: the number after "SOAP-ENV:Client-", or a whole code."""

    def __init__(self, code: int | str, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.code = f"{CLIENT}-{code}" if isinstance(code, int) else code
        self.text = text
        self.status = status


class Rendered(NamedTuple):
    """A reply that is already JSON text (large lists)."""

    text: str


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def dumps(value: object) -> str:
    return _ENCODER.encode(value)


def unknown(what: str, key: object, *, code: int = 105, by: str = "Código", female: bool = False) -> OmieFault:
    """The text `Cliente não cadastrado para o Código [1] !`: 105 for ids of customers and titles, 103 for OS."""
    return OmieFault(code, f"ERROR: {what} não cadastrad{'a' if female else 'o'} para o {by} [{key}] !")


def duplicate(what: str, code: str, nCod: int, *, female: bool = False) -> OmieFault:
    end = "a" if female else "o"
    return OmieFault(102, f"ERROR: {what} já cadastrad{end} para o Código de Integração [{code}] com o nCod [{nCod}] !")


def required(tag: str) -> OmieFault:
    return OmieFault(1000, f"ERROR: O preenchimento da tag [{tag}] é obrigatório!")


def required_one(*tags: str) -> OmieFault:
    return OmieFault(1002, f"ERROR: O preenchimento da tag {' ou '.join(f'[{tag}]' for tag in tags)} é obrigatório!")


def invalid(tag: str, value: object, valid: str) -> OmieFault:
    return OmieFault(105, f"ERROR: O valor [{value}] não é válido para a tag [{tag}]! Valores válidos: {valid}.")


def refused(text: str) -> OmieFault:
    return OmieFault(101, f"ERROR: {text}")


def empty_page(page: int) -> OmieFault:
    return OmieFault(5113, f"ERROR: Não existem registros para a página [{page}]!")


def redundant(seconds: int) -> OmieFault:
    return OmieFault(
        6,
        f"ERROR: Consumo redundante detectado. Aguarde {seconds} segundos para tentar novamente (REDUNDANT).",
    )


def busy() -> OmieFault:
    return OmieFault(
        1880,
        "ERROR: Já existe uma requisição desse método sendo executada e você pode tentar novamente "
        "em alguns instantes. (1)",
    )


def already_processing(hour: str) -> OmieFault:
    return OmieFault(
        8020,
        "ERROR: Esta requisição já foi processada ou está sendo processada e você pode tentar novamente "
        f"às {hour}. (1)",
    )


def blocked(seconds: int) -> OmieFault:
    text = f"ERROR: API bloqueada por consumo indevido. Tente novamente em {seconds} segundos."
    return OmieFault("MISUSE_API_PROCESS", text, status=425)


BAD_KEY = OmieFault(SERVER, "A chave de acesso está inválida ou o aplicativo está suspenso.", status=403)
NO_KEY = OmieFault(SERVER, "A chave de acesso não está preenchida ou não é válida.", status=403)
NO_PARAM = OmieFault(71, "Nenhum parâmetro foi recebido em WS_PARAMS!")
BROKEN_RESPONSE = OmieFault(SERVER, "SOAP-ERROR: Broken response from Application Server (4)")


def fault_body(fault: OmieFault) -> tuple[dict[str, str], bytes]:
    """Headers and body of a fault; `OmieAPI-Error` repeats it, as seen live."""
    number = fault.code.rpartition("-")[2]
    header = f"{number} - {fault.text}".encode("latin-1", "replace").decode("latin-1")
    headers = {"content-type": JSON_TYPE, "OmieAPI-Error": header}
    return headers, dumps({"faultstring": fault.text, "faultcode": fault.code}).encode()


def too_many_body(error_hash: str) -> bytes:
    return dumps({"error_code": 429, "error_message": "Too Many Requests", "error_hash": error_hash}).encode()

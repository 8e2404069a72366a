"""What Omie or a city's NFS-e refuses of the data that goes there: every limit in one place, checked before billing.

Where the numbers come from:

- lengths of the customer's fields: Omie's own schema (clientes_cadastro);
- 2,000 characters of description, and only the characters from blank to ÿ in an address: the national NFS-e schema
  (DPS 1.00: xDescServ; xLgr, nro, xCpl, xBairro), which most cities' own follow;
- a CEP of eight digits in the range of its state: Correios; Omie refuses others, as seen live: "CEP não pertence à
  faixa válida para o estado RJ.";
- no control characters, halves of characters, U+FFFE, U+FFFF: XML 1.0. Beyond U+FFFF (emojis) many cities fail.

The lines are Portuguese, for the billing team, and never repeat what was typed.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from billing.domain.contract import Customer
from billing.domain.text import visible

NAME: Final = 60
"""razao_social."""
FANTASY_NAME: Final = 100
"""nome_fantasia."""
STREET: Final = 60
"""endereco; complemento and bairro too."""
NUMBER: Final = 10
"""endereco_numero."""
CITY: Final = 40
"""cidade, with its state: "SAO PAULO (SP)"."""
EMAIL: Final = 500
DESCRIPTION: Final = 2000
"""All that the NFS-e says of the service."""
LOCAL_PART: Final = 64
"""Of one e-mail address, before the @ (RFC 5321)."""

ABROAD: Final = "EX"
"""What Omie, like the NF-e, has in place of a state for an address outside Brazil."""
STATES: Final[Mapping[str, str]] = {
    "AC": "Acre", "AL": "Alagoas", "AM": "Amazonas", "AP": "Amapá", "BA": "Bahia", "CE": "Ceará",
    "DF": "Distrito Federal", "ES": "Espírito Santo", "GO": "Goiás", "MA": "Maranhão", "MG": "Minas Gerais",
    "MS": "Mato Grosso do Sul", "MT": "Mato Grosso", "PA": "Pará", "PB": "Paraíba", "PE": "Pernambuco", "PI": "Piauí",
    "PR": "Paraná", "RJ": "Rio de Janeiro", "RN": "Rio Grande do Norte", "RO": "Rondônia", "RR": "Roraima",
    "RS": "Rio Grande do Sul", "SC": "Santa Catarina", "SE": "Sergipe", "SP": "São Paulo", "TO": "Tocantins",
}  # fmt: skip
_CEP_FROM: Final = (
    (1000, "SP"), (20000, "RJ"), (29000, "ES"), (30000, "MG"), (40000, "BA"), (49000, "SE"), (50000, "PE"),
    (57000, "AL"), (58000, "PB"), (59000, "RN"), (60000, "CE"), (64000, "PI"), (65000, "MA"), (66000, "PA"),
    (68900, "AP"), (69000, "AM"), (69300, "RR"), (69400, "AM"), (69900, "AC"), (70000, "DF"), (72800, "GO"),
    (73000, "DF"), (73700, "GO"), (76800, "RO"), (77000, "TO"), (78000, "MT"), (79000, "MS"), (80000, "PR"),
    (88000, "SC"), (90000, "RS"),
)  # fmt: skip
"""The first five digits from which on a CEP is of that state (Correios)."""

_FILLERS: Final = frozenset({"12345678"})
"""Typed where a CEP is demanded and none is known, as is one digit eight times; no street has them."""

_NOTHING: Final = frozenset(
    {"nao informado", "nao informada", "nao tem", "n/a", "sem endereco", "sem bairro", "a definir"}
)
"""Typed where a part of an address is demanded, as are a dot, a dash and an x."""
_UF_BEHIND: Final = re.compile(r"\s*[-\u2010-\u2015/,(]\s*([A-Za-z]{2})\s*\)?$")

_REFUSED: Final = "a prefeitura pode rejeitar a NFS-e."
_NO_XML: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U00010000-\U0010ffff]"
)
_NO_ADDRESS: Final = re.compile("[^ -~\u00a0-ÿ]")
_EMAIL: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)


class Cep(NamedTuple):
    """Eight digits, or none with the `problem`; both are empty when nothing was typed."""

    number: str
    problem: str = ""


class Emails(NamedTuple):
    """The addresses that can be written to, as they were typed, and what is wrong with the others."""

    text: str
    problem: str = ""


# --- reading ---------------------------------------------------------------------------------------------------------


def read_cep(typed: str | None, estado: str | None = "", cidade: str | None = "") -> Cep:
    """The CEP of an address.

    Seven digits are a CEP that lost its zero in front, as tables do with numbers, where state and city agree with the
    result: only São Paulo (01000-000 to 05999-999, 08000-000 to 08499-999) and its neighbours (06000-000 to 09999-999)
    have one. Anywhere else another digit may be missing, and nothing is guessed.
    """
    text = re.sub(r"^cep\b[:\s]*", "", visible(typed or ""), flags=re.IGNORECASE)
    text = re.sub(r"^(\d+)\.0$", r"\1", text)  # a number that a table wrote as one
    if not text:
        return Cep("")
    digits = re.sub(r"[\s.\-\u2010-\u2015\u2212]", "", text)
    if not (digits.isascii() and digits.isdecimal()):
        return Cep("", f"O CEP não é um número de oito dígitos: {_REFUSED}")
    if len(digits) == 7 and _lost_its_zero(f"0{digits}", estado or "", cidade or ""):
        digits = f"0{digits}"
    if len(digits) != 8:
        return Cep("", f"O CEP tem {len(digits)} dígito{'s' * (len(digits) > 1)} e deve ter 8: {_REFUSED}")
    if not uf_of_cep(digits) or len(set(digits)) == 1 or digits in _FILLERS:
        return Cep("", f"O CEP não existe: {_REFUSED}")
    return Cep(digits)


def _lost_its_zero(cep: str, estado: str, cidade: str) -> bool:
    if estado.upper() not in {"", "SP"} or cep < "01":
        return False
    city = _plain(city_name(cidade))
    in_the_capital = cep < "06" or "08000000" <= cep < "08500000"
    return not city or (city == "sao paulo") == in_the_capital


def uf_of_cep(cep: str) -> str:
    """The state of a CEP of eight digits; empty when there is no such CEP."""
    prefix = int(cep[:5])
    return next((uf for first, uf in reversed(_CEP_FROM) if prefix >= first), "")


def city_name(typed: str | None) -> str:
    """The city without its state: "São Paulo" of "São Paulo - SP", "São Paulo/SP" and "São Paulo (SP)"."""
    name, uf = _city_and_uf(typed)
    return name if uf else name.partition("(")[0].strip()


def _city_and_uf(typed: str | None) -> tuple[str, str]:
    """The city and the state that is named behind it, if any; else the whole text."""
    text = visible(typed or "")
    behind = _UF_BEHIND.search(text)
    if behind is None or behind[1].upper() not in STATES:
        return text, ""
    return text[: behind.start()].strip(), behind[1].upper()


def read_estado(typed: str | None) -> str:
    """Two letters, from these or from the state's name; EX for abroad; empty for anything else."""
    text = (typed or "").strip()
    if text.upper() in STATES or text.upper() == ABROAD:
        return text.upper()
    name = _plain(text)
    if name == "exterior":
        return ABROAD
    return next((uf for uf, state in STATES.items() if _plain(state) == name), "")


def read_emails(typed: str | None) -> Emails:
    """One address or several, separated by comma, semicolon or line break."""
    text = visible(typed or "")
    parts = [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]
    good = [part for part in parts if _EMAIL.fullmatch(part) and len(part.partition("@")[0]) <= LOCAL_PART]
    joined = text if len(good) == len(parts) else "; ".join(good)
    if len(joined) > EMAIL:
        return Emails(good[0], f"Os e-mails somam {len(joined)} caracteres; o Omie aceita {EMAIL}: vai só o primeiro.")
    if len(good) == len(parts):
        return Emails(joined)
    if len(parts) == 1:
        return Emails("", "O que está no campo de e-mail não é um e-mail válido.")
    if not good:
        return Emails("", f"Nenhum dos {len(parts)} endereços de e-mail é válido.")
    wrong = len(parts) - len(good)
    verb = "vale" if wrong == 1 else "valem"
    return Emails(joined, f"{wrong} de {len(parts)} endereços de e-mail não {verb}: só os outros vão ao Omie.")


# --- what is said before billing -------------------------------------------------------------------------------------


def missing_address(customer: Customer, where: str = "no Jestor") -> list[str]:
    """What an NFS-e needs of a Brazilian address and the customer lacks there, in one line."""
    if customer.estado == ABROAD:
        return []
    needed = {
        "CEP": customer.cep,
        "endereço": customer.endereco,
        "número": customer.numero,
        "bairro": customer.bairro,
        "cidade": customer.cidade,
        "estado": customer.estado,
    }
    missing = ", ".join(name for name, value in needed.items() if _says_nothing(value or ""))
    return [f"Sem {missing} {where}: {_REFUSED}"] if missing else []


def _says_nothing(part: str) -> bool:
    text = _plain(part)
    return not text.strip("x") or text in _NOTHING or not any(character.isalnum() for character in text)


def customer_warnings(customer: Customer, *, writes: bool = False) -> list[str]:
    """What of the customer's data will be refused; with `writes`, also what Omie has no room for and is cut."""
    found = []
    if customer.estado != ABROAD:
        cep = read_cep(customer.cep, customer.estado, customer.cidade)
        if cep.problem:
            found.append(cep.problem)
        elif cep.number and customer.estado in STATES and uf_of_cep(cep.number) != customer.estado:
            found.append(f"O CEP é de {uf_of_cep(cep.number)} e o estado é {customer.estado}: {_REFUSED}")
        elif (uf := _city_and_uf(customer.cidade)[1]) and customer.estado in STATES and uf != customer.estado:
            found.append(f"A cidade diz {uf} e o estado é {customer.estado}: {_REFUSED}")
    for name, typed, length in _texts(customer):
        text = unicodedata.normalize("NFC", typed)
        if _NO_ADDRESS.search(text):
            found.append(f"O campo {name} tem caractere que a nota não aceita (emoji, símbolo): {_REFUSED}")
        if writes and len(text) > length:
            found.append(
                f"O campo {name} tem {len(text)} caracteres; no Omie cabem {length} e o resto é cortado: "
                "corrija-o no Jestor."
            )
    return found


def _texts(customer: Customer) -> Iterable[tuple[str, str, int]]:
    yield "nome", customer.name, NAME
    yield "endereço", customer.endereco or "", STREET
    yield "número", customer.numero or "", NUMBER
    yield "complemento", customer.complemento or "", STREET
    yield "bairro", customer.bairro or "", STREET
    yield "cidade", city_name(customer.cidade), CITY - len(" (SP)")


def description_warnings(description: str, additions: Iterable[str] = ()) -> list[str]:
    """What a city refuses of the text on the invoice: the contract's, and those of additions that are items."""
    found = []
    length = len("\n".join([description, *additions]))
    if length > DESCRIPTION:
        found.append(
            f"A descrição tem {_thousands(length)} caracteres e a NFS-e aceita {_thousands(DESCRIPTION)}: "
            "encurte-a no Jestor, ou a prefeitura pode rejeitar a NFS-e."
        )
    if _NO_XML.search(description):
        found.append(f"A descrição tem caractere que a nota não aceita (emoji, controle): {_REFUSED}")
    return found


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", " ".join(text.split()))
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()

"""Plausible Brazilian parties for the simulated world: names, addresses, phones, valid CNPJ/CPF.

Pure: the same number always gives the same party. Nobody here exists; documents only have valid check digits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T")

_TRADES: Final = (
    "Padaria", "Clínica", "Indústria", "Comércio de Peças", "Transportadora", "Ótica", "Construções",
    "Confecções", "Distribuidora", "Livraria", "Estúdio", "Laboratório", "Consultoria", "Pousada", "Açougue",
    "Auto Elétrica", "Farmácia", "Escola", "Gráfica", "Imobiliária",
)  # fmt: skip
_HOUSES: Final = (
    "São João", "Müller & Filhos", "Conceição", "Três Irmãos", "D'Ávila", "Ipê & Jacarandá", "Boa Vista",
    "Açaí do Norte", "Nossa Senhora da Penha", "Araújo", "Guimarães & Cia", "Pão de Açúcar", "Cachoeira",
    "Sertão", "Imperatriz", "Órion", "Vitória Régia", "Paranaguá", "Bem-te-vi", "Coração Mineiro", "Estação",
    "Saúde & Vida", "Bragança", "Ouro Preto",
)  # fmt: skip
_FORMS: Final = ("Ltda", "Ltda ME", "S.A.", "EIRELI", "Ltda EPP", "& Cia Ltda")
_FIRST: Final = ("João", "Maria", "José", "Ana", "Antônio", "Cláudia", "Luís", "Inês", "Conceição", "Márcio")
_MIDDLE: Final = ("de Souza", "da Conceição", "Araújo", "D'Angelo", "dos Santos", "Gonçalves", "Simões")
_LAST: Final = ("Silva", "Pereira", "Assunção", "Magalhães", "Corrêa", "Brandão", "Leão", "Ibáñez")
_STREETS: Final = (
    "Rua das Acácias",
    "Av. São Luís",
    "Rua XV de Novembro",
    "Al. Santos",
    "Praça da Sé",
    "Rod. BR-101",
)
_EXTRAS: Final = ("", "", "", "sala 12", "conj. 304", "fundos", "bloco B, apto 51")
_QUARTERS: Final = ("Centro", "Água Verde", "Consolação", "Vila Olímpia", "São Pelegrino", "Jardim América")
_CITIES: Final = (
    ("São Paulo", "SP", "01310100", "11"),
    ("Curitiba", "PR", "80010000", "41"),
    ("Belo Horizonte", "MG", "30130010", "31"),
    ("São José dos Campos", "SP", "12210130", "12"),
    ("Florianópolis", "SC", "88010400", "48"),
    ("Goiânia", "GO", "74003010", "62"),
    ("Maceió", "AL", "57020000", "82"),
)
_LETTERS: Final = "ABCDEFGHJKLMNPRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Party:
    """A customer as people typed it: name, document (digits), e-mail, phone in any form, address."""

    name: str
    document: str
    is_person: bool
    email: str | None
    phone: str | None
    ddd: str
    number: str
    cep: str
    endereco: str
    numero: str
    complemento: str
    bairro: str
    cidade: str
    estado: str


class _Draw(NamedTuple):
    kind: int
    trade: int
    house: int
    form: int
    first: int
    middle: int
    last: int
    street: int
    number: int
    extra: int
    quarter: int
    city: int
    phone_a: int
    phone_b: int
    phone_style: int
    email: int


@lru_cache(maxsize=1024)
def party(seed: int, index: int) -> Party:
    """Customer number `index` of the world `seed`; the document is unique per index."""
    draw = _Draw(*struct.unpack(">16H", blake2b(b"party:%d:%d" % (seed, index), digest_size=32).digest()))
    is_person = draw.kind % 100 < 12
    if is_person:
        name = f"{_of(_FIRST, draw.first)} {_of(_MIDDLE, draw.middle)} {_of(_LAST, draw.last)}"
        document = cpf(_scatter(index, seed, 900_000_000))
    else:
        name = f"{_of(_TRADES, draw.trade)} {_of(_HOUSES, draw.house)} {_of(_FORMS, draw.form)}"
        if draw.kind % 1000 > 993:
            name += " - em recuperação judicial - filial Região Metropolitana"
        root = f"{_scatter(index, seed, 90_000_000):08d}"
        if draw.kind % 1000 in range(985, 989):  # registered since July 2026: letters are allowed
            root = _LETTERS[draw.trade % 22] + _LETTERS[draw.house % 22] + root[2:]
        document = with_cnpj_digits(root + "0001")
    cidade, estado, cep, ddd = _of(_CITIES, draw.city)
    number = f"9{draw.phone_a % 10000:04d}{draw.phone_b % 10000:04d}"
    return Party(
        name=name,
        document=document,
        is_person=is_person,
        email=None if draw.email % 100 == 7 else f"financeiro@cliente{index}.example",
        phone=_typed_phone(ddd, number, draw.phone_style % 100),
        ddd=ddd,
        number=number,
        cep=cep,
        endereco=_of(_STREETS, draw.street),
        numero="s/n" if draw.number % 40 == 0 else str(draw.number % 3000 + 1),
        complemento=_of(_EXTRAS, draw.extra),
        bairro=_of(_QUARTERS, draw.quarter),
        cidade=cidade,
        estado=estado,
    )


def _of(choices: tuple[T, ...], draw: int) -> T:
    return choices[draw % len(choices)]


def _scatter(index: int, seed: int, span: int) -> int:
    """A different number in [1, span] for each index < span (step and spans share no factor)."""
    return (index * 7_654_321 + seed * 104_729) % span + 1


def _typed_phone(ddd: str, number: str, style: int) -> str | None:
    if style < 40:
        return f"({ddd}) {number[:5]}-{number[5:]}"
    if style < 60:
        return ddd + number
    if style < 75:
        return f"+55 {ddd} {number[:5]} {number[5:]}"
    if style < 85:
        return f"0{ddd} {number[:5]}.{number[5:]} (whats)"
    if style < 90:
        return f"{number[:5]}-{number[5:]}"
    if style < 94:
        return "(00) 00000-0000"  # the placeholder everyone types
    return f"({ddd}) 3{number[2:5]}-{number[5:]}" if style < 98 else None


def with_cnpj_digits(base: str) -> str:
    """The 14-character CNPJ of a 12-character base; letters weigh their code minus 48 (the 2026 rule)."""
    return _with_digits(base, (range(5, 1, -1), range(9, 1, -1)), (range(6, 1, -1), range(9, 1, -1)))


def cpf(number: int) -> str:
    """The 11-digit CPF whose first nine digits are `number`."""
    return _with_digits(f"{number:09d}", (range(10, 1, -1),), (range(11, 1, -1),))


def _with_digits(base: str, *weights: tuple[range, ...]) -> str:
    for parts in weights:
        row = [weight for part in parts for weight in part]
        rest = sum((ord(char) - 48) * weight for char, weight in zip(base, row, strict=True)) % 11
        base += "0" if rest < 2 else str(11 - rest)
    return base


def formatted(document: str) -> str:
    """As people write it: 12.345.678/0001-95 or 123.456.789-09."""
    if len(document) == 11:
        return f"{document[:3]}.{document[3:6]}.{document[6:9]}-{document[9:]}"
    return f"{document[:2]}.{document[2:5]}.{document[5:8]}/{document[8:12]}-{document[12:]}"

"""The customer's register in Omie: what it was told, what became empty, and whether Omie shows it. Pure.

Omie takes a partial record and leaves what is not named, so a field that was emptied in Jestor must be named with an
empty text; whether Omie then empties it, only reading it again tells. What Jestor never had is left as Omie has it.
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

FIELDS: Final[Mapping[str, str]] = {
    "razao_social": "razão social",
    "nome_fantasia": "nome fantasia",
    "email": "e-mail",
    "telefone1_ddd": "telefone",
    "telefone1_numero": "telefone",
    "cep": "CEP",
    "endereco": "endereço",
    "endereco_numero": "número",
    "complemento": "complemento",
    "bairro": "bairro",
    "cidade": "cidade",
    "estado": "estado",
}
"""Tag of clientes_cadastro that follows Jestor -> what people call it."""
MAY_BE_EMPTY: Final = frozenset({"email", "telefone1_ddd", "telefone1_numero", "complemento"})
"""The others are needed by an NFS-e: what Omie has of them is better than nothing."""
_DIGITS_ONLY: Final = frozenset({"telefone1_ddd", "telefone1_numero", "cep"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a register was last told.

    digest: of the customer's data. filled: the tags that had a value; None when that was not kept. unseen: the tags
    that were sent and that Omie has not shown yet.
    """

    digest: str = ""
    filled: frozenset[str] | None = None
    unseen: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Self:
        digest, *more = text.split("|")
        filled = frozenset(filter(None, more[0].split(","))) if more else None
        return cls(digest, filled, frozenset(filter(None, more[1].split(","))) if len(more) > 1 else frozenset())

    def __str__(self) -> str:
        if self.filled is None:
            return self.digest
        return "|".join((self.digest, ",".join(sorted(self.filled)), ",".join(sorted(self.unseen))))


@dataclass(frozen=True, slots=True)
class Change:
    """What to send: tag -> value, empty for what is to be emptied; `kept`: tags that stay as Omie has them."""

    sent: Mapping[str, str]
    emptied: frozenset[str]
    kept: frozenset[str]


def change_of(cadastro: Mapping[str, Any], told: Told, unreadable: Iterable[str] = ()) -> Change:
    """The change from what was told to `cadastro` (only tags with a value).

    `unreadable`: tags whose field in Jestor holds something that cannot be sent; they are not empty.
    """
    filled = {tag: str(cadastro[tag]) for tag in FIELDS if cadastro.get(tag)}
    gone = (told.filled or frozenset()) - filled.keys()
    emptied = (gone & MAY_BE_EMPTY) - frozenset(unreadable)
    return Change(filled | dict.fromkeys(emptied, ""), emptied, gone - emptied)


def differing(sent: Mapping[str, str], shown: Mapping[str, Any]) -> frozenset[str]:
    """The tags that Omie shows otherwise than they were sent. The city is left out: Omie writes it in its own way."""
    return frozenset(
        tag for tag, value in sent.items() if tag != "cidade" and _normal(tag, shown.get(tag)) != _normal(tag, value)
    )


def names(tags: Iterable[str]) -> str:
    """As people call them, each once: "e-mail, telefone"."""
    wanted = set(tags)
    return ", ".join(dict.fromkeys(name for tag, name in FIELDS.items() if tag in wanted))


def _normal(tag: str, value: Any) -> str:
    text = " ".join(html.unescape(str(value or "")).split()).casefold()
    return re.sub(r"\D", "", text) if tag in _DIGITS_ONLY else text

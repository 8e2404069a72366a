"""What a person must do about an NFS-e that the city refused, by the city's own words. Pure.

A message names a field and whose it is: "CEP do endereço do prestador" is the company's own register in Omie,
"CNPJ do tomador" the customer's. The party is read from the message, never from its code: each city has its own codes,
and the same field exists for every party. A message about withholding or about the place of the tax concerns the
accountants, whichever party it mentions.
"""

import re
import unicodedata
from enum import Enum
from typing import Final


class Party(Enum):
    """Whose field a message is about."""

    COMPANY = "prestador"
    CUSTOMER = "tomador"
    INTERMEDIARY = "intermediario"


_PARTIES: Final = (
    (
        Party.COMPANY,
        (
            r"prestador(?:a|es)?\b|\bprest\b|\bemitente|\bemissor"
            r"|\b(?:empresa|contribuinte)\b(?! (?:d[oa] )?(?:tomador|cliente|destinatari|adquirente|intermediari))"
        ),
    ),
    (Party.CUSTOMER, r"\btomador|\btoma\b|\bdestinatari|\bcliente\b|\badquirente"),
    (Party.INTERMEDIARY, r"\bintermediari|\binterm\b"),
)
"""In words, and as the tags of the national XML: prest, toma, interm."""
_IN_OMIE: Final = "nos dados da empresa, no Omie. Não mexa no cadastro do cliente."
_FISCAL: Final = "Peça à contabilidade que confira a tributação do serviço no Omie."
_INTERMEDIARY: Final = "Confira na OS, no Omie, os dados do intermediário do serviço, ou retire-o da nota."
_SUBJECTS: Final = (
    (
        (
            r"indisponivel|tempo (limite|esgotado)|time ?out|fora do ar|manutencao|<html|\b403\b|\b50[0234]\b|forbidden"
            r"|(falha|erro)s? (na|de|no) (comunicacao|conexao)"
        ),
        "A prefeitura estava fora do ar: nada a corrigir, espere que ela volte.",
    ),
    (r"retencao|retencoes|\bretid[oa]|substitu(icao|to) tributari|municipio de incidencia", _FISCAL),
    (
        r"certificado|assinatura|senha|login|autentica|usuario nao",
        "Renove no Omie o certificado digital ou o acesso da empresa à prefeitura.",
    ),
    (
        (
            r"tomador.*(ser o proprio|igual ao|mesmo que o) prestador|prestador.*(ser o proprio|igual ao) tomador"
            r"|^(?=.*tomador)(?=.*prestador)(?=.*\b(cnpj|cpf)\b).*\bigua(l|is)\b"
        ),
        "A empresa e o cliente da nota são a mesma pessoa: confira o CNPJ/CPF do cliente e a empresa do contrato.",
    ),
    (
        r"discriminacao|descricao d[oe]s? servico",
        "Corrija a descrição do contrato no Jestor: até 2.000 caracteres, sem emojis nem caracteres especiais.",
    ),
    (
        r"codigo d[eo] servico|codigo de tributacao|item da lista|lc ?116|\bcnae\b|\bnbs\b",
        "Peça à contabilidade que confira o código do serviço da empresa no Omie e na configuração.",
    ),
    (
        r"(?<!tomador )nao (esta |foi )?(autorizad|habilitad|credenciad|liberad|conveniad)|convenio|credencia",
        (
            "Confira com a contabilidade se a empresa está habilitada na prefeitura para emitir esta nota, "
            "e os dados dela no Omie."
        ),
    ),
    (
        r"em desacordo|xml ?schema|schema xml|estrutura d[oe] (xml|arquivo)|caracter(es)? (invalid|especia|nao permit)",
        (
            "Algum texto tem caracteres ou tamanho que a prefeitura não aceita: confira a descrição do contrato e o "
            "cadastro do cliente (emojis, símbolos, campos vazios)."
        ),
    ),
    (
        r"local da prestacao|municipio (da prestacao|onde o servico)",
        "Peça à contabilidade que confira o local da prestação do serviço no contrato, no Omie.",
    ),
    (
        r"\b[rd]ps\b.*(ja (informad|existe|convertid|utilizad)|duplicad|numeracao|serie)|(numero|serie) d[oa] [rd]ps",
        "Confira com a contabilidade a numeração e a série do RPS da empresa no Omie.",
    ),
)
"""The first that fits decides, whichever party is mentioned beside it."""

_ADDRESS: Final = (
    f"Corrija o endereço (CEP, rua, número, bairro, município) {_IN_OMIE}",
    "Corrija o endereço do cliente no Jestor (CEP, rua, número, bairro, cidade).",
)
_FIELDS: Final = (
    (
        r"e-?mail|(endereco|correio) eletronico",
        f"Corrija o e-mail {_IN_OMIE}",
        "Corrija o e-mail do cliente no Jestor.",
    ),
    (
        r"telefone|\bfone\b|celular|\bddd\b",
        f"Corrija o telefone {_IN_OMIE}",
        "Corrija o telefone do cliente no Jestor (DDD e número, do Brasil).",
    ),
    (
        r"inscricao municipal|\bccm\b|\bim\b",
        f"Confira a inscrição municipal com a contabilidade: corrija-a {_IN_OMIE}",
        "Confira a inscrição municipal do cliente: ela fica no cadastro dele no Omie.",
        "Veja na OS, no Omie, de quem é a inscrição municipal que a mensagem aponta, e confira-a com a contabilidade.",
    ),
    (
        r"\bnif\b|exterior|codigo do pais",
        f"Corrija o endereço {_IN_OMIE}",
        "Confira no Omie, no cadastro do cliente, os dados dele no exterior (país, NIF, endereço).",
    ),
    (
        r"endereco|logradouro|\bcep\b|bairro|complemento|\bx?lgr\b|\bcmun\b|\bxcpl\b",
        *_ADDRESS,
    ),
    (
        r"cnpj|\bcpf\b|documento",
        f"Confira o CNPJ {_IN_OMIE}",
        "Corrija o CNPJ/CPF do cliente no Jestor.",
    ),
    (
        r"razao social|\bx?nome\b",
        f"Corrija a razão social {_IN_OMIE}",
        "Corrija o nome do cliente no Jestor.",
    ),
    (
        r"inscricao estadual",
        f"Confira a inscrição estadual com a contabilidade: corrija-a {_IN_OMIE}",
        "Confira a inscrição estadual do cliente: ela fica no cadastro dele no Omie.",
    ),
    (
        (
            r"aliquota|natureza da operacao|regime|simples nacional|\bpis\b|cofins|csll|\bibs\b|\bcbs\b"
            r"|deducao|deducoes|competencia"
        ),
        _FISCAL,
        _FISCAL,
    ),
)
"""(words, advice for the company's field, for the customer's, and for one of no named party if that differs).

The first one in the message counts.
"""

_FIELDS_IF_NONE: Final = (
    (r"\biss(qn)?\b", _FISCAL, _FISCAL),
    (
        (
            r"codigo d[eo] municipio|(municipio|cidade) d[oa] (tomador|prestador|emitente|destinatario|cliente)"
            r"|(municipio|cidade)\b.*(inexistente|invalid|diverg|difere|\bibge\b"
            r"|nao (existe|encontrad|cadastrad|informad|preenchid))"
        ),
        *_ADDRESS,
    ),
)
"""Likewise, of messages without any of those: most messages mention a municipality or the tax beside their matter."""

_WHOLE: Final = {
    Party.COMPANY: f"Confira o que a mensagem aponta {_IN_OMIE}",
    Party.CUSTOMER: "Confira o cadastro do cliente no Jestor.",
    Party.INTERMEDIARY: _INTERMEDIARY,
}


def advice(text: str) -> str:
    """What to correct, and where, in Portuguese; empty when the message names nothing that is known here."""
    words = _fold(text)
    for pattern, what in _SUBJECTS:
        if re.search(pattern, words):
            return what
    for fields in (_FIELDS, _FIELDS_IF_NONE):
        found = [(match, told) for pattern, *told in fields if (match := re.search(pattern, words))]
        if found:
            match, told = min(found, key=lambda each: each[0].start())
            return _for(_owner(words, match.start(), match.end()), *told)
    mentioned = [party for party, pattern in _PARTIES if re.search(pattern, words)]
    return _WHOLE[mentioned[0]] if mentioned else ""


def _for(owner: Party | None, company: str, customer: str, unnamed: str = "") -> str:
    if owner is None and unnamed:
        return unnamed
    if owner is Party.INTERMEDIARY and company is not customer:
        return _INTERMEDIARY
    return company if owner is Party.COMPANY else customer


def _owner(words: str, start: int, end: int) -> Party | None:
    """The party that the field between these places belongs to; None when the message names none.

    "CNPJ do prestador não autorizado para o tomador" is about the company: the first party behind the field, in its
    own sentence, owns it. Else the last one before it: "Tomador: CEP não preenchido".
    """
    stop = re.search(r"[.;\n]", words[end:])
    sentence = words[end : end + stop.start()] if stop else words[end:]
    behind = _mentions(sentence)
    if behind:
        return behind[0][1]
    before = _mentions(words[:start])
    if before:
        return before[-1][1]
    elsewhere = _mentions(words)
    return elsewhere[0][1] if elsewhere else None


def _mentions(words: str) -> list[tuple[int, Party]]:
    found = [(match.start(), party) for party, pattern in _PARTIES for match in re.finditer(pattern, words)]
    return sorted(found, key=lambda mention: mention[0])


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()

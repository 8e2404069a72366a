"""What a probe says to the operator, in Portuguese: what contradicts our assumptions first, and what to change."""

from __future__ import annotations

from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Final

from billing.domain.month import SAO_PAULO
from billing.settings import FUNCTION_TIMEOUT_SECONDS
from ops.findings import count
from ops.probe.questions import BY_NAME, QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from billing.settings import CompanySettings
    from ops.probe.run import Probed
    from ops.probe.told import Answer

WORDS: Final[Mapping[str, str]] = {
    "accept": "o Omie aceita",
    "refuse": "o Omie recusa",
    "merge": "ficam",
    "replace": "saem",
    "removed": "sai sozinho",
    "kept": "fica",
    "keep": "não esvazia o campo",
    "clear": "esvazia o campo",
    "required": "é obrigatório",
    "optional": "não é obrigatório",
    "present": "vem",
    "absent": "não vem",
    "alike": "juntos",
    "apart": "cada um por si",
    "automatic": "vem sozinho",
    "on_request": "só a pedido",
    "gross": "sim",
    "net": "não",
    "redirect": "é redirecionada",
    "list": "lista",
    "object": "objeto",
    "off": "nenhum",
    "consultar": "Consultar*",
    "consultar+status": "Consultar* e Status*",
}
"""A switch's value, as the operator reads it."""
CLOCK_BOUND: Final = 900.0
"""Seconds by which Omie's clock may differ (docs/exactly-once.md)."""
SAFETY: Final = 1.5
"""A lag's setting exceeds by so much the longest that was seen: the next one may be longer."""
TELL: Final = "Avise a engenharia."
MANY_SILENT: Final = 0.05


def contradictions(key: str, company: CompanySettings, answers: Mapping[str, Answer]) -> list[str]:
    """One line for each assumption that does not hold, with the setting to change where there is one."""
    told = {name: answer.value for name, answer in answers.items() if answer.told}
    return [*_lags(key, company, told), *_shapes(told), *_boletos(key, company, told)]


def _lags(key: str, company: CompanySettings, told: Mapping[str, object]) -> Iterator[str]:
    table = f"[companies.{key}]"
    lists, reads = company.list_lag_seconds, company.read_lag_seconds
    if (seen := _number(told, "list_lag")) > lists:
        lists = min(900, _rounded(seen))
        yield _late("listas", seen, company.list_lag_seconds, f"Em {table}: list_lag_seconds = {lists}")
    if (seen := _number(told, "read_lag")) > reads:
        reads = min(600, _rounded(seen))
        yield _late("leituras", seen, company.read_lag_seconds, f"Em {table}: read_lag_seconds = {reads}")
    least = FUNCTION_TIMEOUT_SECONDS + company.longest_abandoned_call_seconds + max(lists, reads) + 1
    if company.in_doubt_wait_seconds < least:
        yield f"Com isso, em {table}: in_doubt_wait_seconds = {least}"
    if abs(offset := _number(told, "clock_offset")) > CLOCK_BOUND:
        yield (
            f"O relógio do Omie difere {offset:.0f} s do nosso, e supomos 15 minutos no máximo. Nenhuma configuração "
            "resolve: acerte o relógio deste computador ou avise a engenharia."
        )


def _late(what: str, seen: float, supposed: int, change: str) -> str:
    return f"As {what} atrasaram {seen:.0f} s, e a configuração supõe {supposed} s. {change}"


def _shapes(told: Mapping[str, object]) -> Iterator[str]:
    if told.get("os_nCodCtr") == "absent" and told.get("list_os_cNumContrato") == "absent":
        yield (
            "O ListarOS não diz de que contrato é a OS: o ConsultarOS é chamado para cada uma que este sistema não "
            f"conhece, e o que nem ele disser fica para uma pessoa. {TELL}"
        )
    if 0 < _number(told, "largest_page") < 100:
        yield f"O Omie dá páginas de {_number(told, 'largest_page'):.0f}, e pedimos 100. {TELL}"
    if 0 < _number(told, "in_flight") < 4:
        yield f"O Omie permite {_number(told, 'in_flight'):.0f} chamadas ao mesmo tempo, e supomos 4. {TELL}"
    if told.get("item_keys_kept") == "não":
        yield f"Itens ou despesas mudam de código a cada alteração: contratos com acréscimos ficarão parados. {TELL}"
    if told.get("expense_text_kept") == "não":
        yield f"O Omie corta o fim do texto das despesas, onde vai a nossa marca. {TELL}"


def _boletos(key: str, company: CompanySettings, told: Mapping[str, object]) -> Iterator[str]:
    invoice = company.invoice
    if told.get("boleto") == "on_request" and invoice.boleto == "expected" and not invoice.make_missing_boleto:
        yield f"O boleto só vem a pedido. Em [companies.{key}.invoice]: make_missing_boleto = true"
    if (seen := _number(told, "boleto_seconds")) > invoice.wait_for_boleto_hours * 3600:
        hours = ceil(seen / 3600) + 1
        yield f"O boleto leva {seen / 3600:.0f} h. Em [companies.{key}.invoice]: wait_for_boleto_hours = {hours}"


def report(key: str, company: CompanySettings, probed: Probed) -> list[str]:
    """The whole report, one line an entry."""
    told = {name: answer for name, answer in probed.answers.items() if answer.told}
    asked = f"{len(told)} de {len(QUESTIONS)} perguntas respondidas"
    took = f"{probed.measured.calls.total()} chamadas, {ceil(probed.seconds / 60)} min"
    return [
        f"Sonda do Omie de {key}, {probed.began.astimezone(SAO_PAULO):%d/%m/%Y}: {asked}, {took}.",
        *([f"Parou antes do fim: {probed.stopped}."] if probed.stopped else []),
        "",
        "O que contradiz o que supomos",
        *_listed(contradictions(key, company, probed.answers), "Nada."),
        "",
        "Respostas",
        *_listed(
            [f"{BY_NAME[name].asks}: {shown(answer)} ({answer.why})" for name, answer in told.items()], "Nenhuma."
        ),
        "",
        "Não deu para saber",
        *_listed(
            [f"{BY_NAME[name].asks}: {answer.why}" for name, answer in probed.answers.items() if not answer.told],
            "Nada: tudo foi respondido.",
        ),
        "",
        "Medidas",
        *_listed(list(_measures(probed)), ""),
        "",
        "O que a sonda fez",
        *_listed(list(_made(probed)), ""),
    ]


def shown(answer: Answer) -> str:
    """The value in the operator's words, numbers with a decimal comma."""
    value = answer.value
    if isinstance(value, float):
        return f"{value:.1f}".replace(".", ",").removesuffix(",0")
    return WORDS.get(str(value), str(value))


def _measures(probed: Probed) -> Iterator[str]:
    measured = probed.measured
    yield from probed.lags
    for method, seconds in sorted(measured.latencies.items(), key=lambda each: -max(each[1]))[:8]:
        yield f"{method}: {median(seconds):.1f} s no meio, {max(seconds):.1f} s no pior, de {len(seconds)}".replace(
            ".", ","
        )
    silent, calls = measured.silent.total(), measured.calls.total()
    much = " É muito: confira a rede e repita." if silent > MANY_SILENT * max(calls, 1) else ""
    yield f"Sem resposta: {silent} de {count(calls, 'chamada', 'chamadas')}.{much}"
    if errors := ", ".join(f"{method} {number}" for method, number in sorted(measured.errors.items())):
        yield f"Erros, de no máximo três por método: {errors}."
    issued, refused = probed.notes
    yield f"NFS-e: {issued} emitidas, {refused} recusadas pela prefeitura."


def _made(probed: Probed) -> Iterator[str]:
    yield f"Usou o cliente {probed.customer}, que ficou como estava, com os contratos de teste cancelados."
    for kind in dict.fromkeys(one.kind for one in probed.made):
        mine = [one for one in probed.made if one.kind == kind]
        names = ", ".join(f"{one.code} ({one.number})" for one in mine if one.gone)
        yield f"{kind}: {len(mine)}, desfeitos {sum(one.gone for one in mine)}{f': {names}' if names else ''}"
    for one in probed.made:
        if not one.gone:
            yield (
                f"FICOU, desfaça à mão no Omie: {one.kind} {one.code} ({one.number})"
                if one.number
                else f"PODE TER FICADO, confira no Omie: {one.kind} {one.code} (o Omie não respondeu à criação)"
            )
    for code in probed.doubtful:
        yield f"PODE TER FICADO uma OS de {code}: o Omie não respondeu ao faturamento; olhe as OS do cliente."


def _listed(lines: list[str], nothing: str) -> list[str]:
    return [f"- {line}" for line in lines] or [nothing]


def _number(told: Mapping[str, object], name: str) -> float:
    value = told.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _rounded(seconds: float) -> int:
    return ceil(SAFETY * seconds / 10) * 10

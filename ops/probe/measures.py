"""Answers that are measured: limits, clocks, lags, and how long notes and boletos take."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from ops.probe.lags import Span, alike, common, known, longest, shortest
from ops.probe.told import NOT_REACHED, Answer, could_not, unclear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.probe.caller import Reply
    from ops.probe.lags import Sighting
    from ops.probe.observations import Billed, Observations

BOLETO_PATIENCE: Final = 480.0
"""Seconds for which a title without a boleto must be known before boletos count as made on request only."""
DOCUMENTED_PAGES: Final = (100, 500)
QUICK: Final = 3
"""Looks that must have shown a thing at once, for the longest of their times to bound a lag that none of them saw."""
LATE_LOOK: Final = 40.0
"""Seconds between two looks, at most, for them to bound a lag: the stages in turn are looked at every half minute."""
FEWEST: Final = 4
"""Things seen to appear without which the longest of them says little."""
RARE_READ: Final = 6.0
"""The same for reads of a contract, which may be put in other words every few seconds."""
CLOCKS_AGREE: Final = 2.0


def _kind(reply: Reply) -> str:
    if reply.done:
        return "ok"
    return "redundant" if reply.error is not None and reply.error.rule == "redundant" else "other"


def redundant_on(seen: Observations) -> Answer:
    for replies in seen.repeats.get("identical", []):
        kinds = [_kind(reply) for reply in replies]
        if "other" not in kinds and kinds[-1] == "redundant":
            return Answer(len(kinds), f"a {len(kinds)}ª chamada igual voltou REDUNDANT")
        if kinds == ["ok", "ok", "ok"]:
            return Answer(0, "três chamadas iguais foram respondidas")
    return unclear([reply for replies in seen.repeats.get("identical", []) for reply in replies])


def same_id(seen: Observations) -> Answer:
    refused: dict[str, bool] = {}
    for family in ("Consultar", "Status"):
        for replies in seen.repeats.get(family, []):
            kinds = [_kind(reply) for reply in replies]
            if kinds in (["ok", "ok"], ["ok", "redundant"]):
                refused[family] = kinds[1] == "redundant"
    if len(refused) < 2:
        return unclear(
            [reply for name in ("Consultar", "Status") for each in seen.repeats.get(name, []) for reply in each]
        )
    if refused["Status"] and not refused["Consultar"]:
        return could_not("StatusOS recusou o mesmo ID e ConsultarContrato não: o simulador não tem esse caso")
    value = "off" if not refused["Consultar"] else "consultar+status" if refused["Status"] else "consultar"
    return Answer(value, "o mesmo ID foi perguntado duas vezes num minuto, com outras palavras")


def in_flight(seen: Observations) -> Answer:
    limits = {limit for limit in seen.measured.in_flight if limit.isdecimal()}
    if len(limits) != 1:
        return could_not("o cabeçalho X-Omie-ParallelRateLimit não veio, ou mudou no meio")
    return Answer(int(limits.pop()), "cabeçalho X-Omie-ParallelRateLimit")


def largest_page(seen: Observations) -> Answer:
    smallest, largest = DOCUMENTED_PAGES
    if seen.page is None or seen.page.answer is None:
        return unclear([seen.page] if seen.page else [])
    given, total = len(seen.page.rows("contratoCadastro") or []), seen.page.answer.get("total_de_registros")
    if not isinstance(total, int) or given > total:
        return could_not("a lista não diz quantos contratos há")
    if given < total:
        return Answer(given, f"pedidos {largest}, vieram {given} de {total}")
    if total <= smallest:
        return could_not(f"a conta tem só {total} contratos; são precisos mais de {smallest}")
    return Answer(largest, f"pedidos {largest}, vieram todos os {total} numa página")


def missing_slash(seen: Observations) -> Answer:
    if seen.slash is None:
        return could_not(NOT_REACHED)
    if seen.slash.done:
        return Answer("accept", "respondeu sem a barra")
    status = seen.slash.error.http_status if seen.slash.error else None
    if status in (301, 302, 307, 308):
        return Answer("redirect", f"HTTP {status}")
    return unclear([seen.slash])


# ------------------------------------------------------------------------------------------------- clocks


def clock_offset(seen: Observations) -> Answer:
    offsets = seen.measured.offsets
    if not offsets:
        return could_not("nenhuma resposta trouxe o cabeçalho Date")
    span = common(offsets)
    if span is None:
        return could_not("o cabeçalho Date variou durante a sonda")
    for hour in seen.hours:
        if hour.low - CLOCKS_AGREE > span.high or hour.high + CLOCKS_AGREE < span.low:
            return could_not(f"Date diz {span.middle:.1f} s, e a hora da alteração diz {hour.middle:.1f} s")
    value = round(span.middle, 1)
    return Answer(
        value if abs(value) > span.width / 2 else 0.0, f"cabeçalho Date, entre {span.low:.1f} e {span.high:.1f} s"
    )


# --------------------------------------------------------------------------------------------------- lags


def _how_late(sightings: Sequence[Sighting], what: str, rare: float) -> Answer:
    """The longest lag seen, rounded to the uncomfortable side; `rare`: seconds between looks that bound nothing."""
    looked = [one.span for one in sightings if one.looked]
    # Where looks were rare, what was still missing counts, and nothing follows from when it was found.
    spans = [span for span in looked if span.width <= max(rare, span.low / 5)]
    if len(spans) < FEWEST:
        return could_not(f"só {len(spans)} de {len(looked)} {what} foram vistos aparecer" if looked else NOT_REACHED)
    span, still = longest(spans), max(one.low for one in looked)
    if still > span.high:
        return could_not(f"um dos {len(looked)} {what} ainda não aparecia depois de {still:.0f} s")
    if still > 0:
        return Answer(round(span.high, 1), f"o maior de {len(spans)}: entre {still:.0f} e {span.high:.0f} s")
    # Nothing lagged that could be seen: what three quick looks agree on is the bound, and no lag at all is not claimed.
    bound = sorted(one.high for one in spans)[QUICK - 1]
    return Answer(round(bound, 1), f"{len(spans)} vistos já no primeiro olhar: se há atraso, é de até {bound:.1f} s")


def read_lag(seen: Observations) -> Answer:
    return _how_late(list(seen.altered.values()), "contratos alterados", RARE_READ)


def _lists(seen: Observations) -> tuple[list[Sighting], list[Sighting]]:
    return [each.in_orders for each in seen.billed], [each.in_stages for each in seen.billed if each.first]


def list_lag(seen: Observations) -> Answer:
    """Of the two lists the later one; neither stands for the other."""
    each = [_how_late(sightings, "faturamentos", LATE_LOOK) for sightings in _lists(seen)]
    if open_ones := [answer for answer in each if not answer.told]:
        return open_ones[0]
    return max(each, key=lambda answer: float(answer.value or 0))


def lag_lines(seen: Observations) -> list[str]:
    """Each lag for itself, as the operator reads it."""
    orders, stages = _lists(seen)
    lines = []
    for what, sightings in (
        ("Etapas depois de faturar", stages),
        ("ListarOS depois de faturar", orders),
        ("ListarContratos e ConsultarContrato depois de alterar", list(seen.altered.values())),
        ("Contrato criado, até estar no ListarContratos", list(seen.created.values())),
    ):
        looked = [one for one in sightings if one.looked]
        if spans := known(looked):
            last = longest(spans)
            lines.append(
                f"{what}: {len(spans)} de {len(looked)} apareceram, o último entre {last.low:.0f} e {last.high:.0f} s"
            )
    if seen.consulted:
        old, ages = sum(not shows for _, shows in seen.consulted), [age for age, _ in seen.consulted]
        lines.append(f"ConsultarContrato até {max(ages):.0f} s depois de alterar: {old} de {len(ages)} ainda sem ela")
    return lines


def list_lag_least(seen: Observations) -> Answer:
    spans = known([one for sightings in _lists(seen) for one in sightings])
    if not spans:
        return could_not(NOT_REACHED)
    span = min(spans, key=lambda one: one.high)
    if span.width > LATE_LOOK:
        return could_not(f"o menor atraso está entre {span.low:.0f} e {span.high:.0f} s")
    return Answer(round(span.low, 1), f"o menor de {len(spans)}: entre {span.low:.0f} e {span.high:.0f} s")


def lists_lag(seen: Observations) -> Answer:
    pairs = [
        (each.in_stages.span, each.in_orders.span)
        for each in seen.billed
        if each.first and each.in_stages.seen and each.in_orders.seen
    ]
    found = alike(pairs)
    if found is None:
        return could_not("as listas quase não atrasaram, ou atrasaram sempre o mesmo" if pairs else NOT_REACHED)
    return Answer("alike" if found else "apart", f"{len(pairs)} faturamentos vistos nas duas listas")


# -------------------------------------------------------------------------------------------- notes, boletos


def _noted(seen: Observations) -> list[Billed]:
    return [each for each in seen.billed if each.note.seen and not each.refused]


def nfse_seconds(seen: Observations) -> Answer:
    found = [each.note.span for each in _noted(seen)]
    spans = [span for span in found if span.width <= max(LATE_LOOK / 2, span.low / 2)]
    if len(spans) < QUICK:
        refused = sum(each.refused for each in seen.billed)
        return could_not(f"{len(spans)} NFS-e vistas sair de {len(seen.billed)}, {refused} recusadas pela prefeitura")
    mean = sum(span.middle for span in spans) / len(spans)
    return Answer(round(mean, 1), f"média de {len(spans)}, a maior em até {longest(spans).high:.0f} s")


def boleto(seen: Observations) -> Answer:
    if any(each.boleto.seen for each in seen.billed):
        return Answer("automatic", "o boleto veio sem pedir")
    if not seen.boleto_wanted:
        return could_not("o cadastro do cliente diz que não quer boletos")
    if seen.title_age >= BOLETO_PATIENCE:
        return Answer("on_request", f"nenhum boleto em {seen.title_age / 60:.0f} min de título")
    return could_not("nenhum título apareceu a tempo" if not seen.title_age else "os títulos são recentes demais")


def boleto_seconds(seen: Observations) -> Answer:
    spans = [
        Span(max(0.0, boleto.low - title.high), boleto.high - title.low)
        for title, boleto in ((each.title.span, each.boleto.span) for each in seen.billed)
        if title.high < inf and boleto.high < inf
    ]
    if not spans:
        return could_not("nenhum boleto veio sem pedir")
    span = common(spans) or Span(shortest(spans).low, longest(spans).high)
    if span.width > LATE_LOOK / 2:
        return could_not(f"entre {span.low:.0f} e {span.high:.0f} s: os olhares foram raros demais")
    return Answer(round(span.middle, 1), f"entre {span.low:.0f} e {span.high:.0f} s")

"""Omie's API, one typed method per call this system makes.

Reads wait for their turn at the gate and are repeated a few times when nothing came of them. A write is sent
once and never repeated here: whoever calls it decides by the outcome (see `billing.omie.replies`). Decimals
arrive as Decimal; dates travel as dd/mm/yyyy.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

import httpx
import tenacity

from billing.clock import Clock
from billing.omie.governor import SAME_QUESTION, BlockedUntil, ReaderState, ReadGate, reader_stop
from billing.omie.replies import (
    LANE_STOP,
    NOT_SENT,
    READERS_STOP,
    Blocked,
    EmptyPage,
    IncompleteRead,
    InDoubt,
    NotExecuted,
    OmieError,
    Rejected,
    read_reply,
    seconds_until,
    transport_error,
    was_sent,
)

Json = dict[str, Any]
KeepPage = Callable[[int, float, list[Json]], None]
"""(page, when it was asked for in epoch seconds, its records)."""

READ_ATTEMPTS = 5
PAGE_SIZE = 100
"""Records per page: the documented maximum (Omie help 8112984); bigger ones break live."""

_PATHS = {
    "servicos/contrato/": (
        "ListarContratos ConsultarContrato IncluirContrato AlterarContrato UpsertContrato ExcluirItem"
    ),
    "servicos/contratofat/": (
        "FaturarContrato ObterContratos SuspenderContrato AtivarContrato ReativarContrato CancelarContrato"
    ),
    "servicos/contratolote/": "FaturarLoteContrato StatusLoteContrato ListarLotesContrato",
    "geral/clientes/": "ListarClientes ConsultarCliente UpsertClienteCpfCnpj AlterarCliente",
    "servicos/os/": "ListarOS ConsultarOS StatusOS",
    "servicos/nfse/": "ListarNFSEs",
    "servicos/osdocs/": "ObterNFSe",
    "financas/mf/": "ListarMovimentos",
    "financas/contareceber/": "ListarContasReceber",
    "financas/contareceberboleto/": "ObterBoleto GerarBoleto CancelarBoleto",
    "geral/contacorrente/": "ListarContasCorrentes",
    "geral/categorias/": "ListarCategorias",
    "servicos/servico/": "ListarCadastroServico",
}
PATHS = {method: path for path, methods in _PATHS.items() for method in methods.split()}
_READS = ("Listar", "Consultar", "Obter", "Status")
_EMPTY_IS_NO_ERROR = frozenset({"ListarNFSEs", "ListarContasReceber"})
"""Lists that say "nothing found" with an empty page. Every other list says it with an error, which counts."""
_OF_ONE = frozenset({"filtrar_cliente", "clientesFiltro", "nCodTitulo", "nIdLoteFat"})
"""Filters by which a list is asked about one thing that is known to be there: its answer is not empty."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An Omie application's keys; neither is ever shown."""

    app_key: str = field(repr=False)
    app_secret: str = field(repr=False)

    def hide(self, text: str) -> str:
        for secret in (self.app_secret, self.app_key):
            text = text.replace(secret, "***") if secret else text
        return text


class FaturarReply(NamedTuple):
    nCodCtr: int
    nCodOS: int
    cCodStatus: str
    cDescStatus: str


class LoteReply(NamedTuple):
    nIdLoteFat: int
    nQtdeFat: int
    cCodStatus: str
    cDesStatus: str


class _Dialect(NamedTuple):
    """One of Omie's ways to page: names in the request (page, size) and in the reply (pages, records)."""

    page: str
    size: str
    pages: str
    records: str


_CADASTRO = _Dialect("pagina", "registros_por_pagina", "total_de_paginas", "total_de_registros")
_MOVIMENTO = _Dialect("nPagina", "nRegPorPagina", "nTotPaginas", "nTotRegistros")
_LOTE = _Dialect("nPagina", "nRegistros", "nTotPaginas", "nTotRegistros")


class OmieClient:
    """One company's door to Omie.

    Args:
        credentials: of the company's application.
        base_url: up to and including `/api/v1`.
        http: carries the time-outs; it must not follow redirects or retry.
        clock: what waits between the attempts of a read.
        gate: paces the reads; None paces nothing.
        read_attempts: how often a read is tried in all; 1 for whoever must not wait.
        longest_wait: seconds; a read that would be repeated later than that is not. None: no such bound.
        repeats_errors: whether a read that Omie answered with an error is tried again; False after no answer only.
        on_error: told of every error reply before it is raised or retried (for the lane's error budget).

    Every method raises OmieError and nothing else. No request or key travels with the error.
    """

    paths: ClassVar[Mapping[str, str]] = PATHS
    """Method -> its path below `base_url`."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str,
        http: httpx.Client,
        clock: Clock,
        gate: ReadGate | None = None,
        on_error: Callable[[str, OmieError], None] | None = None,
        read_attempts: int = READ_ATTEMPTS,
        longest_wait: float | None = None,
        repeats_errors: bool = True,
    ) -> None:
        self._credentials = credentials
        self._base_url = base_url.rstrip("/") + "/"
        self._http = http
        self._clock = clock
        self._gate = gate
        self._on_error = on_error
        self._read_attempts = read_attempts
        self._longest_wait = math.inf if longest_wait is None else longest_wait
        self._repeats_errors = repeats_errors
        self.called_at = 0.0
        """When the last call left (epoch seconds)."""
        self.errors = 0
        """Error replies and missing answers so far."""

    def __repr__(self) -> str:
        return f"OmieClient({self._base_url!r})"

    # Contracts

    def listar_contratos(self, pagina: int, registros_por_pagina: int = PAGE_SIZE, **filters: Any) -> Json:
        """One raw page. Beyond the end Omie answers with an error: see EmptyPage."""
        pages = {"pagina": pagina, "registros_por_pagina": registros_por_pagina}
        return self._read("ListarContratos", pages | filters)

    def iter_contratos(self, keep: KeepPage | None = None, **filters: Any) -> Iterator[Json]:
        """Every contratoCadastro once, page by page. `keep` is given each page of PAGE_SIZE as it came.

        Raises:
            IncompleteRead: at the end, when Omie announced another number of contracts than it gave.
        """
        identity = ("cabecalho", "nCodCtr")
        return self._pages("ListarContratos", _CADASTRO, "contratoCadastro", filters, identity, keep=keep)

    def contratos_da_pagina(self, pagina: int) -> list[Json]:
        """The contratoCadastro of one page, asked in the words of `iter_contratos`; none beyond the last page."""
        try:
            reply = self.listar_contratos(pagina)
        except EmptyPage:
            return []
        contratos: list[Json] = _part(reply, "contratoCadastro", list, "ListarContratos")
        return contratos

    def consultar_contrato(self, nCodCtr: int) -> Json:
        """The contratoCadastro. Omie refuses the same contract again within 60 s."""
        reply = self._read("ConsultarContrato", {"contratoChave": {"nCodCtr": nCodCtr}})
        cadastro: Json = _part(reply, "contratoCadastro", dict, "ConsultarContrato")
        return cadastro

    def consultar_contrato_por_codigo(self, cCodIntCtr: str) -> Json | None:
        """The contratoCadastro of our code; None when no contract carries it: an answer that counts as an error."""
        try:
            reply = self._read("ConsultarContrato", {"contratoChave": {"cCodIntCtr": cCodIntCtr}})
        except Rejected as refused:
            if refused.rule != "permanent":
                raise
            return None
        cadastro: Json = _part(reply, "contratoCadastro", dict, "ConsultarContrato")
        return cadastro

    def incluir_contrato(self, cadastro: Json) -> int:
        """Create; returns nCodCtr. AlreadyRegistered when cCodIntCtr exists."""
        return self._write_for_id("IncluirContrato", cadastro, "nCodCtr")

    def alterar_contrato(self, cadastro: Json) -> int:
        """Change; returns nCodCtr. Send every item: Omie does not say whether it merges or replaces."""
        return self._write_for_id("AlterarContrato", cadastro, "nCodCtr")

    def upsert_contrato(self, cadastro: Json) -> int:
        """Create or change by key; returns nCodCtr."""
        return self._write_for_id("UpsertContrato", cadastro, "nCodCtr")

    def excluir_item(self, nCodCtr: int, codItem: int) -> Json:
        """Take one item out of a contract."""
        return self._write(
            "ExcluirItem", {"contratoChave": {"nCodCtr": nCodCtr}, "ItensExclusao": [{"codItem": codItem}]}
        )

    # Billing of contracts

    def faturar_contrato(self, nCodCtr: int) -> FaturarReply:
        """Bill the contract for the current month. Takes no key and no month: only the ledger guards it.

        Raises:
            InDoubt: also when the reply names no OS or another contract.
        """
        reply = self._write("FaturarContrato", {"nCodCtr": nCodCtr})
        os, contract = reply.get("nCodOS"), reply.get("nCodCtr", nCodCtr)
        if not isinstance(os, int) or os <= 0 or contract != nCodCtr:
            raise _odd(InDoubt, "FaturarContrato", "Reply without an OS of this contract.")
        return FaturarReply(nCodCtr, os, str(reply["cCodStatus"]), str(reply.get("cDescStatus", "")))

    def obter_contratos(self, cEtapa: int | str) -> list[tuple[int, str]]:
        """(nCodCtr, cNumCtr) of a stage: 20 = to bill today, 30 = billed this month. Not paged."""
        question = {"cEtapa": str(cEtapa)}
        try:
            reply = self._read("ObterContratos", question, question=question)
        except EmptyPage:
            return []
        lines = reply.get("listaContratos", [] if "cEtapa" in reply else None)
        if not isinstance(lines, list) or not all(_dig(line, "nCodCtr") for line in lines):
            raise _odd(NotExecuted, "ObterContratos", "Reply without listaContratos.")
        return [(line["nCodCtr"], str(line.get("cNumCtr") or "")) for line in lines]

    def suspender_contrato(self, nCodCtr: int) -> Json:
        return self._write("SuspenderContrato", {"nCodCtr": nCodCtr})

    def ativar_contrato(self, nCodCtr: int) -> Json:
        return self._write("AtivarContrato", {"nCodCtr": nCodCtr})

    def reativar_contrato(self, nCodCtr: int) -> Json:
        return self._write("ReativarContrato", {"nCodCtr": nCodCtr})

    def cancelar_contrato(self, nCodCtr: int) -> Json:
        return self._write("CancelarContrato", {"nCodCtr": nCodCtr})

    # The bulk lot

    def faturar_lote_contrato(self, cCodIntLote: str) -> LoteReply:
        """Bill *every* contract in stage 20. The lot's code is optional to Omie, but an empty param is refused."""
        reply = self._write("FaturarLoteContrato", {"cCodIntLote": cCodIntLote})
        lot = reply.get("nIdLoteFat")
        if not isinstance(lot, int) or lot <= 0:
            raise _odd(InDoubt, "FaturarLoteContrato", "Reply without nIdLoteFat.")
        return LoteReply(lot, reply.get("nQtdeFat", 0), str(reply["cCodStatus"]), str(reply.get("cDesStatus", "")))

    def status_lote_contrato(self, nIdLoteFat: int) -> Json:
        """`cStatus` RUNNING, DONE or ERROR, with `nQtdeTotal` and `nQtdeProcessadas`."""
        return self._read("StatusLoteContrato", {"nIdLoteFat": nIdLoteFat})

    def iter_lotes_contrato(self, de: date, ate: date) -> Iterator[Json]:
        """Every lot begun between two days, whoever began it: `cOrigem` MAN, SCH (Omie's own schedule) or API."""
        begun = {"dDtIncDe": omie_date(de), "dDtIncAte": omie_date(ate)}
        return self._pages("ListarLotesContrato", _LOTE, "lotes", begun, ("nIdLoteFat",))

    def listar_lotes_contrato(self, nIdLoteFat: int) -> list[Json]:
        """The lot's lines {nIdPedido (the OS), nIdContrato, cStatus, cMensagem}, of all its pages."""
        lots = self._pages("ListarLotesContrato", _LOTE, "lotes", {"nIdLoteFat": nIdLoteFat, "cExibirDetalhes": "S"})
        lines: list[Json] = []
        for lot in lots:
            details = lot.get("detalhes") or []
            lines += details if isinstance(details, list) else [details]  # one object in the 2024 schema
        return lines

    # Customers

    def iter_clientes(self, **filters: Any) -> Iterator[Json]:
        """Every clientes_cadastro once; `clientesFiltro={"cnpj_cpf": ...}` narrows it."""
        identity = ("codigo_cliente_omie",)
        return self._pages("ListarClientes", _CADASTRO, "clientes_cadastro", filters, identity)

    def upsert_cliente_cpf_cnpj(self, cliente: Json) -> int:
        """Create or change the customer by cnpj_cpf; returns codigo_cliente_omie."""
        return self._write_for_id("UpsertClienteCpfCnpj", cliente, "codigo_cliente_omie")

    def alterar_cliente(self, codigo_cliente_omie: int, changes: Json) -> int:
        """Change these fields of that register; those that are not named stay as they are."""
        param = {"codigo_cliente_omie": codigo_cliente_omie, **changes}
        return self._write_for_id("AlterarCliente", param, "codigo_cliente_omie")

    def consultar_cliente(self, codigo_cliente_omie: int) -> Json:
        """The clientes_cadastro."""
        return self._read("ConsultarCliente", {"codigo_cliente_omie": codigo_cliente_omie})

    # What billing produced

    def iter_os(self, de: date, ate: date, **filters: Any) -> Iterator[Json]:
        """Every osCadastro billed between two days, both included."""
        billed = {
            "filtrar_por_data_faturamento_de": omie_date(de),
            "filtrar_por_data_faturamento_ate": omie_date(ate),
        }
        identity = ("Cabecalho", "nCodOS")
        return self._pages("ListarOS", _CADASTRO, "osCadastro", billed | filters, identity)

    def consultar_os(self, nCodOS: int) -> Json:
        """The osCadastro; unlike ListarOS it names the contract. Omie refuses the same order again within 60 s."""
        return self._read("ConsultarOS", {"nCodOS": nCodOS}, question={"nCodOS": nCodOS})

    def status_os(self, nCodOS: int) -> Json:
        """With `ListaRpsNfse` and its messages."""
        return self._read("StatusOS", {"nCodOS": nCodOS, "lRps": True})

    def listar_nfses(self, de: date, ate: date, **filters: Any) -> Iterator[Json]:
        """Every nfseEncontradas issued between two days, both included."""
        issued = {"dEmiInicial": omie_date(de), "dEmiFinal": omie_date(ate)}
        return self._pages("ListarNFSEs", _MOVIMENTO, "nfseEncontradas", issued | filters)

    def nfses_da_os(
        self, *, nCodOS: int | None = None, cNumOS: str | None = None, nCodNF: int | None = None
    ) -> list[Json]:
        """The nfseEncontradas of one order, by whichever is known; none is an empty list, not an error."""
        known = {"nCodigoOS": nCodOS, "nNumeroOS": cNumOS, "nCodNF": nCodNF}
        named = {tag: value for tag, value in known.items() if value}
        if not named:
            raise ValueError("an order is named by its nCodOS, its cNumOS or its nCodNF")
        return list(self._pages("ListarNFSEs", _MOVIMENTO, "nfseEncontradas", named))

    def obter_nfse(self, nIdNf: int) -> Json:
        """`cLinkPortal`, `cUrlNFSe` (the city's page), `cPdfNFSe` (expires), `cNumNFSe`, `cCodVerif`."""
        return self._read("ObterNFSe", {"nIdNf": nIdNf})

    # Receivables

    def iter_contas_receber(self, emissao_de: date, emissao_ate: date, **filters: Any) -> Iterator[Json]:
        """Every conta_receber_cadastro issued between two days, both included; `filtrar_cliente` narrows it."""
        issued = {"filtrar_por_emissao_de": omie_date(emissao_de), "filtrar_por_emissao_ate": omie_date(emissao_ate)}
        identity = ("codigo_lancamento_omie",)
        return self._pages("ListarContasReceber", _CADASTRO, "conta_receber_cadastro", issued | filters, identity)

    def obter_boleto(self, nCodTitulo: int) -> Json | None:
        """`cLinkBoleto`, `cCodBarras`, `dDtEmBol`...; None while the title has no boleto (Omie: HTTP 200, "103")."""
        try:
            reply = self._read("ObterBoleto", {"nCodTitulo": nCodTitulo})
        except Rejected as refused:
            if refused.rule == "soft":
                return None
            raise
        return reply if reply.get("cLinkBoleto") or reply.get("cCodBarras") else None

    def gerar_boleto(self, nCodTitulo: int) -> Json:
        """Have the bank's slip made; the same reply as `obter_boleto`."""
        return self._write("GerarBoleto", {"nCodTitulo": nCodTitulo})

    def cancelar_boleto(self, nCodTitulo: int) -> Json:
        """The slip is void; the title stays owed. Rejected when the title has none."""
        return self._write("CancelarBoleto", {"nCodTitulo": nCodTitulo})

    def has_title(self, status: str = "") -> bool:
        """Whether the account has any conta a receber; of that status, if named: ATRASADO.

        Worth a question before ListarMovimentos, which answers an empty list with an error: those count towards a
        block of the key. This list answers it with no rows.
        """
        asked = {"pagina": 1, "registros_por_pagina": 1} | ({"filtrar_por_status": status} if status else {})
        reply = self._read("ListarContasReceber", asked, question=asked)
        found: int = _part(reply, "total_de_registros", int, "ListarContasReceber")
        return found > 0

    def iter_movimentos(self, vencimento_de: date, vencimento_ate: date, **filters: Any) -> Iterator[Json]:
        """Every movimento due between two days. Both bounds: dDtVencDe alone silently drops rows."""
        due = {"dDtVencDe": omie_date(vencimento_de), "dDtVencAte": omie_date(vencimento_ate)}
        return self._pages("ListarMovimentos", _MOVIMENTO, "movimentos", due | filters)

    # The company's registers

    def iter_contas_correntes(self) -> Iterator[Json]:
        """Every bank account; `per_juros`, `per_multa`: what its boletos charge, in percent."""
        return self._pages("ListarContasCorrentes", _CADASTRO, "ListarContasCorrentes", {}, ("nCodCC",))

    def iter_categorias(self) -> Iterator[Json]:
        """Every categoria_cadastro: `codigo`, `conta_receita`, `conta_inativa`, `totalizadora`."""
        return self._pages("ListarCategorias", _CADASTRO, "categoria_cadastro", {}, ("codigo",))

    def iter_servicos(self) -> Iterator[Json]:
        """Every service of the register: `intListar.nCodServ` is an item's codServico."""
        return self._pages("ListarCadastroServico", _MOVIMENTO, "cadastros", {}, ("intListar", "nCodServ"))

    # How it is done

    def _write(self, method: str, param: Json) -> Json:
        return self._send(method, param, write=True)

    def _write_for_id(self, method: str, param: Json, key: str) -> int:
        found = self._write(method, param).get(key)
        if not isinstance(found, int) or found <= 0:
            raise _odd(InDoubt, method, f"Reply without {key}.")
        return found

    def _read(
        self,
        method: str,
        param: Json,
        *,
        smaller_page: bool = False,
        question: Mapping[str, Any] | None = None,
        may_be_empty: bool = False,
    ) -> Json:
        """`smaller_page`: a Broken response is not repeated, the caller asks for less.

        `may_be_empty`: a missing answer counts as an error (see `OmieError.counts_toward_block`).

        `question`: what another process might ask as well; each attempt takes its moment among them, unless the one
        before never left: a repetition out of turn would refuse the others, and each refusal counts.
        """
        reached = True

        def attempt() -> Json:
            nonlocal reached
            if self._gate is not None:
                self._gate.may_call(method)
            if question is not None and reached:
                self._wait_to_ask(method, question)
            try:
                return self._send(method, param, write=False, may_be_empty=may_be_empty)
            except OmieError as error:
                reached = error.rule != NOT_SENT
                raise

        def again(error: BaseException) -> bool:
            broken = isinstance(error, OmieError) and error.rule == "broken_response"
            counted = isinstance(error, OmieError) and error.was_answered and error.counts_toward_block
            if counted and not self._repeats_errors:
                return False
            return isinstance(error, NotExecuted) and not (broken and smaller_page)

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(again),
            wait=lambda state: read_delay(_error_of(state), state.attempt_number, self._clock),
            stop=lambda state: (
                state.attempt_number >= self._read_attempts
                or read_delay(_error_of(state), state.attempt_number, self._clock) > self._longest_wait
            ),
            sleep=self._clock.sleep,
            reraise=True,
        )
        reply: Json = retrying(attempt)
        return reply

    def _send(self, method: str, param: Json, *, write: bool, may_be_empty: bool = False) -> Json:
        try:
            answer = self._post(method, param, write=write, may_be_empty=may_be_empty)
            if isinstance(answer, httpx.Response):
                return read_reply(method, write=write, status=answer.status_code, body=answer.content)
            error = answer
        except OmieError as refusal:
            error = refusal
            for echoed in ("text", "faultcode"):
                setattr(error, echoed, self._credentials.hide(getattr(error, echoed)))
            error.args = (method, error.text)
        if self._gate is not None and not write and error.retry_after is not None:
            self._gate.hold(method, error.retry_after)
        self.errors += 1
        if self._on_error is not None:
            self._on_error(method, error)
        raise error.with_traceback(None)  # read_reply's frame knows the reply as it came

    def _post(self, method: str, param: Json, *, write: bool, may_be_empty: bool = False) -> httpx.Response | OmieError:
        """The answer, or why there is none.

        The error is returned, not raised: the keys stay in this frame, out of every traceback, and httpx's
        exception, which holds the request, ends here.
        """
        keys = {"app_key": self._credentials.app_key, "app_secret": self._credentials.app_secret}
        body = json.dumps({"call": method, **keys, "param": [param]}, default=_number)
        headers = {"Content-Type": "application/json"}
        try:
            with nullcontext() if write or self._gate is None else self._gate.call(method):
                self.called_at = self._clock.now().timestamp()
                return self._http.post(self._base_url + self.paths[method], content=body, headers=headers)
        except httpx.HTTPError as exc:
            return transport_error(method, write=write, exc=exc, sent=was_sent(exc), may_be_empty=may_be_empty)

    def _wait_to_ask(self, method: str, param: Mapping[str, Any]) -> None:
        if self._gate is not None:
            self._gate.wait_to_ask(f"{method} {json.dumps(param, sort_keys=True)}")

    def _pages(
        self,
        method: str,
        dialect: _Dialect,
        key: str,
        filters: Mapping[str, Any],
        identity: tuple[str, ...] = (),
        *,
        keep: KeepPage | None = None,
    ) -> Iterator[Json]:
        """Records of all pages, each identity once, never asking beyond the last page (an error).

        A page too big for Omie (Broken response) is asked for in smaller ones from the same record on.
        """
        read = given = announced = 0
        size, last = PAGE_SIZE, False
        seen: set[Any] = set()
        while not last:
            page = read // size + 1
            try:
                reply = self._read(
                    method,
                    {dialect.page: page, dialect.size: size, **filters},
                    smaller_page=size > 1,
                    question=_question(method, page, filters),
                    may_be_empty=not read and _may_be_empty(method, filters),
                )
            except EmptyPage:
                break
            except NotExecuted as error:
                if error.rule != "broken_response" or size == 1:
                    raise
                size = _smaller(size)
                continue
            records = _part(reply, key, list, method)
            announced = _part(reply, dialect.records, int, method)
            if keep is not None and size == PAGE_SIZE:
                keep(page, self.called_at, records)
            for record in records:
                identified = _dig(record, *identity) if identity else None
                identified = identified if isinstance(identified, int | str) else None  # an odd one is nobody's double
                if identified is None or identified not in seen:
                    seen.add(identified)
                    given += 1
                    yield record
            read += size
            last = not records or page >= _part(reply, dialect.pages, int, method)
        if given != announced:
            raise _odd(IncompleteRead, method, f"Read {given} of {announced} records announced.")


def shared_turns(ask: Callable[[str], float | BlockedUntil], clock: Clock) -> Callable[[str], float]:
    """For a ReadGate: the seconds to wait for a question's moment.

    Raises:
        Blocked: by the gate, while the lane is stopped: by Omie, or by itself before Omie does.
    """

    def turn(question: str) -> float:
        answer = ask(question)
        if isinstance(answer, float):
            return answer
        raise Blocked(
            question.partition(" ")[0],
            answer.reason,
            rule=LANE_STOP,
            retry_after=answer.until - clock.now().timestamp(),
        )

    return turn


def reader_permit(readers: Callable[[], ReaderState], clock: Clock) -> Callable[[str], None]:
    """For a reader's ReadGate: the readers' own budget of errors.

    Raises:
        Blocked: by the gate (rule "readers"), while readers leave the method alone. The lane is not stopped by it.
    """

    def permit(method: str) -> None:
        now = clock.now().timestamp()
        if stop := reader_stop(readers(), method, now):
            raise Blocked(method, stop.reason, rule=READERS_STOP, retry_after=stop.until - now)

    return permit


def _may_be_empty(method: str, filters: Mapping[str, Any]) -> bool:
    """Whether the list's first page may be the error that says "nothing found"."""
    return method not in _EMPTY_IS_NO_ERROR and not _OF_ONE & filters.keys()


def _question(method: str, page: int, filters: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What another process might ask as well: a list's first page, and each one of the whole list of contracts."""
    if page == 1:
        return filters
    return {"pagina": page} if method == "ListarContratos" and not filters else None


def omie_date(day: date) -> str:
    return f"{day:%d/%m/%Y}"


def read_delay(error: OmieError, attempt: int, clock: Clock) -> float:
    """Seconds before attempt + 1: what Omie asks for, else past its 60 s redundancy window.

    A question without an answer may have arrived, and its repetition within the minute would be refused as redundant:
    an error that counts. A call that never left counts for nothing in that window: 2, 4, 8, 16 s.
    """
    if error.rule == NOT_SENT:
        return max(2.0**attempt, error.retry_after or 0.0)
    if error.retry_at is not None:
        return seconds_until(error.retry_at, clock.now())
    if attempt == 1 and error.retry_after is not None:
        return error.retry_after
    return max(SAME_QUESTION, error.retry_after or 0.0)


def _error_of(state: tenacity.RetryCallState) -> OmieError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, OmieError)  # noqa: S101 - tenacity's types allow anything
    return error


def _odd(kind: type[OmieError], method: str, text: str) -> OmieError:
    return kind(method, text, rule="odd_reply", http_status=HTTPStatus.OK)


def _part(reply: Json, key: str, kind: type[Any], method: str) -> Any:
    part = reply.get(key)
    if not isinstance(part, kind):
        raise _odd(NotExecuted, method, f"Reply without {key}.")
    return part


def _dig(record: Any, *path: str) -> Any:
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def _smaller(size: int) -> int:
    """The greatest proper divisor: pages of it still begin where pages of `size` did."""
    return next(divisor for divisor in range(size // 2, 0, -1) if size % divisor == 0)


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} cannot be sent to Omie")

"""/servicos/servico/, /geral/contacorrente/ and /geral/categorias/, to be read: services, bank accounts, categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulators.omie.answers import Json, Rendered, dumps, required, required_one, unknown
from simulators.omie.paging import CLASSIC, MODERN, one_page
from simulators.omie.state import Call, Handler

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/servicos/servico/"
ACCOUNT_PATH: Final = "/geral/contacorrente/"
CATEGORY_PATH: Final = "/geral/categorias/"


def listar_cadastro_servico(call: Call, param: Json) -> Rendered:
    name = str(param.get("cDescricao") or "").lower()
    code = str(param.get("cCodigo") or "")
    rows = [
        service
        for service in call.app.services.values()
        if name in service["cabecalho"]["cDescricao"].lower() and (not code or service["cabecalho"]["cCodigo"] == code)
    ]
    return one_page(param, MODERN, "cadastros", rows, dumps, largest=call.switches.largest_page)


def consultar_cadastro_servico(call: Call, param: Json) -> Json:
    number = int(param.get("nCodServ") or 0)
    code = str(param.get("cCodIntServ") or "").strip()
    if not number and not code:
        raise required_one("nCodServ", "cCodIntServ")
    for service in call.app.services.values():
        key = service["intListar"]
        if (number and key["nCodServ"] == number) or (not number and key["cCodIntServ"] == code):
            return service
    raise unknown("Serviço", number or code, code=103)


METHODS: Final[Mapping[str, Handler]] = {
    "ListarCadastroServico": Handler(listar_cadastro_servico, write=False),
    "ConsultarCadastroServico": Handler(consultar_cadastro_servico, write=False),
}


def listar_contas_correntes(call: Call, param: Json) -> Rendered:
    return one_page(
        param,
        CLASSIC,
        "ListarContasCorrentes",
        _accounts(call, param),
        dumps,
        largest=call.switches.largest_page,
    )


def listar_resumo_contas_correntes(call: Call, param: Json) -> Rendered:
    rows = [
        {
            "nCodCC": account["nCodCC"],
            "cCodCCInt": account.get("cCodCCInt") or "",
            "descricao": account.get("descricao") or "",
            "tipo": account.get("tipo_conta_corrente") or "",
            "codigo_banco": account.get("codigo_banco") or "",
            "codigo_agencia": account.get("codigo_agencia") or "",
            "conta_corrente": account.get("numero_conta_corrente") or "",
        }
        for account in _accounts(call, param)
    ]
    return one_page(param, CLASSIC, "conta_corrente_lista", rows, dumps, largest=call.switches.largest_page)


def _accounts(call: Call, param: Json) -> list[Json]:
    number, code = int(param.get("codigo") or 0), str(param.get("codigo_integracao") or "")
    return [
        account
        for account in call.app.accounts.values()
        if (not number or account["nCodCC"] == number)
        and (not code or account.get("cCodCCInt") == code)
        and (param.get("filtrar_apenas_ativo") != "S" or account.get("inativo") != "S")
    ]


def consultar_conta_corrente(call: Call, param: Json) -> Json:
    number, code = int(param.get("nCodCC") or 0), str(param.get("cCodCCInt") or "").strip()
    if not number and not code:
        raise required_one("nCodCC", "cCodCCInt")
    for account in call.app.accounts.values():
        if account["nCodCC"] == number or (code and account.get("cCodCCInt") == code):
            return account
    raise unknown("Conta Corrente", number or code, female=True)


ACCOUNT_METHODS: Final[Mapping[str, Handler]] = {
    "ListarContasCorrentes": Handler(listar_contas_correntes, write=False),
    "ListarResumoContasCorrentes": Handler(listar_resumo_contas_correntes, write=False),
    "ConsultarContaCorrente": Handler(consultar_conta_corrente, write=False),
}


_OF_TYPE: Final = {"R": "conta_receita", "D": "conta_despesa", "T": "transferencia"}


def listar_categorias(call: Call, param: Json) -> Rendered:
    """filtrar_por_tipo gives the active ones that a person may choose, not the totals above them."""
    rows = list(call.app.categories.values())
    if param.get("filtrar_apenas_ativo") == "S":
        rows = [row for row in rows if row["conta_inativa"] != "S"]
    if kind := _OF_TYPE.get(str(param.get("filtrar_por_tipo") or "")):
        shut = ("conta_inativa", "totalizadora", "nao_exibir")
        rows = [row for row in rows if row[kind] == "S" and all(row[flag] != "S" for flag in shut)]
    return one_page(param, CLASSIC, "categoria_cadastro", rows, dumps, largest=call.switches.largest_page)


def consultar_categoria(call: Call, param: Json) -> Json:
    code = str(param.get("codigo") or "").strip()
    if not code:
        raise required("codigo")
    if code not in call.app.categories:
        raise unknown("Categoria", code, female=True)
    return call.app.categories[code]


CATEGORY_METHODS: Final[Mapping[str, Handler]] = {
    "ListarCategorias": Handler(listar_categorias, write=False),
    "ConsultarCategoria": Handler(consultar_categoria, write=False),
}


def category(codigo: str, descricao: str, **flags: str) -> Json:
    """An entry of categoria_cadastro: an active revenue category, but for the flags given."""
    return {
        "codigo": codigo,
        "descricao": descricao,
        "descricao_padrao": descricao,
        "categoria_superior": codigo.rpartition(".")[0],
        "codigo_dre": "",
        "conta_despesa": "N",
        "conta_inativa": "N",
        "conta_receita": "S",
        "definida_pelo_usuario": "N",
        "id_conta_contabil": 0,
        "nao_exibir": "N",
        "natureza": "",
        "tag_conta_contabil": "",
        "totalizadora": "N",
        "transferencia": "N",
        **flags,
    }

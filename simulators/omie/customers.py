"""/geral/clientes/: the register of customers (the deprecated PorLote methods are not there)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulators.omie.answers import (
    Json,
    OmieFault,
    Rendered,
    dumps,
    duplicate,
    refused,
    required,
    required_one,
    unknown,
)
from simulators.omie.dates import br, hour_of, read_br
from simulators.omie.paging import CLASSIC, one_page
from simulators.omie.state import App, Call, Handler, digits

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH: Final = "/geral/clientes/"


def incluir_cliente(call: Call, param: Json) -> Json:
    _require(call, param, "codigo_cliente_integracao", "razao_social", "nome_fantasia")
    return _include(call, param)


def alterar_cliente(call: Call, param: Json) -> Json:
    return _alter(call, param, find(call.app, param))


def upsert_cliente(call: Call, param: Json) -> Json:
    number = int(param.get("codigo_cliente_omie") or 0)
    if number or str(param.get("codigo_cliente_integracao") or "").strip() in call.app.customer_codes:
        return _alter(call, param, find(call.app, param))
    return incluir_cliente(call, param)


def upsert_cliente_cpf_cnpj(call: Call, param: Json) -> Json:
    document = digits(param.get("cnpj_cpf"))
    if not document:
        raise required("cnpj_cpf")
    known = call.app.customer_documents.get(document)
    if known is not None:
        return _alter(call, param, known)
    _require(call, param, "razao_social", "nome_fantasia")
    return _include(call, param)


def consultar_cliente(call: Call, param: Json) -> Rendered:
    return Rendered(call.app.customers[find(call.app, param)])


def excluir_cliente(call: Call, param: Json) -> Json:
    app = call.app
    number = find(app, param)
    if any(contract.nCodCli == number for contract in app.contract_list):
        raise refused("Cliente possui contratos vinculados e não pode ser excluído!")
    cadastro = app.customer(number)
    del app.customers[number]
    app.customer_list.remove(number)
    app.customer_codes.pop(str(cadastro.get("codigo_cliente_integracao") or "").strip(), None)
    app.customer_documents.pop(digits(cadastro.get("cnpj_cpf")), None)
    app.changed()
    return _status(number, cadastro, "Cliente excluído com sucesso!")


def associar_cod_int_cliente(call: Call, param: Json) -> Json:
    number = int(param.get("codigo_cliente_omie") or 0)
    if number not in call.app.customers:
        raise unknown("Cliente", number)
    return _alter(call, {"codigo_cliente_integracao": param.get("codigo_cliente_integracao") or ""}, number)


def listar_clientes(call: Call, param: Json) -> Rendered:
    customers = call.app.customers
    return one_page(
        param,
        CLASSIC,
        "clientes_cadastro",
        _listed(call, param),
        lambda number: customers[number],
        largest=call.switches.largest_page,
    )


def listar_clientes_resumido(call: Call, param: Json) -> Rendered:
    return one_page(
        param,
        CLASSIC,
        "clientes_cadastro_resumido",
        _listed(call, param),
        lambda number: _summary(call.app, number),
        largest=call.switches.largest_page,
    )


METHODS: Final[Mapping[str, Handler]] = {
    "IncluirCliente": Handler(incluir_cliente, write=True),
    "AlterarCliente": Handler(alterar_cliente, write=True),
    "UpsertCliente": Handler(upsert_cliente, write=True),
    "UpsertClienteCpfCnpj": Handler(upsert_cliente_cpf_cnpj, write=True),
    "ConsultarCliente": Handler(consultar_cliente, write=False),
    "ExcluirCliente": Handler(excluir_cliente, write=True),
    "AssociarCodIntCliente": Handler(associar_cod_int_cliente, write=True),
    "ListarClientes": Handler(listar_clientes, write=False),
    "ListarClientesResumido": Handler(listar_clientes_resumido, write=False),
}


def find(app: App, key: Json) -> int:
    """codigo_cliente_omie of the customer meant; 105 when there is none."""
    number = int(key.get("codigo_cliente_omie") or 0)
    code = str(key.get("codigo_cliente_integracao") or "").strip()
    if number:
        if number not in app.customers:
            raise unknown("Cliente", number)
        return number
    if code:
        known = app.customer_codes.get(code)
        if known is None:
            raise unknown("Cliente", code, by="Código de Integração")
        return known
    raise required_one("codigo_cliente_omie", "codigo_cliente_integracao")


def _require(call: Call, param: Json, *tags: str) -> None:
    for tag in tags:
        free = tag == "nome_fantasia" and call.switches.nome_fantasia == "optional"
        if not free and not str(param.get(tag) or "").strip():
            raise required(tag)


def _include(call: Call, param: Json) -> Json:
    app = call.app
    if param.get("codigo_cliente_omie"):
        raise refused("A tag [codigo_cliente_omie] não deve ser informada na inclusão!")
    code = str(param.get("codigo_cliente_integracao") or "").strip()
    if code in app.customer_codes and call.switches.duplicate_integration_code == "refuse":
        raise duplicate("Cliente", code, app.customer_codes[code])
    document = digits(param.get("cnpj_cpf"))
    if document in app.customer_documents:
        known = app.customer_documents[document]
        known_code = app.customer(known).get("codigo_cliente_integracao") or ""
        raise OmieFault(
            102,
            f"ERROR: Cliente já cadastrado para o CPF/CNPJ [{param['cnpj_cpf']}] com o Id [{known}] "
            f"e código de integração [{known_code}] !",
        )
    number = app.new_id()
    day, hour = br(call.today), hour_of(call.now)
    info = {"cImpAPI": "S", "dInc": day, "hInc": hour, "uInc": "WEBSERVICE"}
    cadastro = {
        "inativo": "N",
        "bloquear_faturamento": "N",
        "enviar_anexos": "N",
        "pessoa_fisica": "S" if len(document) == 11 else "N",
        "tags": [],
        "recomendacoes": {"gerar_boletos": "S"},
        **param,
        "codigo_cliente_omie": number,
        "codigo_cliente_integracao": code,
        "info": {**info, "dAlt": day, "hAlt": hour, "uAlt": "WEBSERVICE"},
    }
    app.add_customer(cadastro)
    app.changed()
    _announce(call, number, cadastro, "Incluido")
    return _status(number, cadastro, "Cliente cadastrado com sucesso!")


def _alter(call: Call, param: Json, number: int) -> Json:
    app = call.app
    cadastro = app.customer(number)
    keeps = call.switches.empty_on_alter == "keep"
    changes = {
        tag: value
        for tag, value in param.items()
        if tag not in ("codigo_cliente_omie", "info") and not (keeps and value == "")
    }
    code = str(changes.get("codigo_cliente_integracao") or "").strip()
    if code and app.customer_codes.get(code, number) != number:
        raise duplicate("Cliente", code, app.customer_codes[code])
    document = digits(changes.get("cnpj_cpf"))
    if document and app.customer_documents.get(document, number) != number:
        raise OmieFault(
            102,
            f"ERROR: Cliente já cadastrado para o CPF/CNPJ [{changes['cnpj_cpf']}] "
            f"com o Id [{app.customer_documents[document]}] !",
        )
    app.customer_codes.pop(str(cadastro.get("codigo_cliente_integracao") or "").strip(), None)
    app.customer_documents.pop(digits(cadastro.get("cnpj_cpf")), None)
    if not code:
        changes.pop("codigo_cliente_integracao", None)
    cadastro.update(changes)
    cadastro["info"] = {
        **(cadastro.get("info") or {}),
        "dAlt": br(call.today),
        "hAlt": hour_of(call.now),
        "uAlt": "WEBSERVICE",
    }
    app.add_customer(cadastro)
    app.changed()
    _announce(call, number, cadastro, "Alterado")
    return _status(number, cadastro, "Cliente alterado com sucesso!")


def _listed(call: Call, param: Json) -> list[int]:
    app = call.app
    filters = {
        tag: value
        for tag, value in param.items()
        if value and tag.startswith(("clientes", "filtrar_", "ordem_")) and value != "N"
    }
    if not filters:
        return app.customer_list
    found: list[int] = app.found(("clientes", dumps(filters)), lambda: _search(app, param))
    return found


def _search(app: App, param: Json) -> list[int]:
    numbers = list(app.customer_list)
    if by_code := param.get("clientesPorCodigo"):
        numbers = [number for number in (_by_code(app, key) for key in by_code) if number is not None]
    wanted = {tag: value for tag, value in (param.get("clientesFiltro") or {}).items() if value}
    if document := digits(wanted.pop("cnpj_cpf", "")):
        known = app.customer_documents.get(document)
        numbers = [number for number in numbers if number == known]
    start = read_br(param.get("filtrar_por_data_de") or "")
    end = read_br(param.get("filtrar_por_data_ate") or "")
    if wanted or start or end:
        field = "dInc" if param.get("filtrar_apenas_inclusao") == "S" else "dAlt"
        kept = []
        for number in numbers:
            cadastro = app.customer(number)
            changed = read_br((cadastro.get("info") or {}).get(field) or "")
            if (start or end) and (changed is None or (start and changed < start) or (end and changed > end)):
                continue
            if all(_matches(cadastro, tag, value) for tag, value in wanted.items()):
                kept.append(number)
        numbers = kept
    if "S" in (param.get("ordem_decrescente"), param.get("ordem_descrescente")):
        numbers.reverse()
    return numbers


def _by_code(app: App, key: Json) -> int | None:
    number = int(key.get("codigo_cliente_omie") or 0)
    if number:
        return number if number in app.customers else None
    return app.customer_codes.get(str(key.get("codigo_cliente_integracao") or "").strip())


def _matches(cadastro: Json, tag: str, value: object) -> bool:
    if tag == "tags" and isinstance(value, list):
        known = {one.get("tag") for one in cadastro.get("tags") or []}
        return all(one.get("tag") in known for one in value)
    if isinstance(value, str):
        return value.lower() in str(cadastro.get(tag) or "").lower()
    return bool(cadastro.get(tag) == value)


def _summary(app: App, number: int) -> str:
    cadastro = app.customer(number)
    return dumps(
        {
            "codigo_cliente": number,
            "codigo_cliente_integracao": cadastro.get("codigo_cliente_integracao", ""),
            "cnpj_cpf": cadastro.get("cnpj_cpf", ""),
            "razao_social": cadastro.get("razao_social", ""),
            "nome_fantasia": cadastro.get("nome_fantasia", ""),
        }
    )


def _status(number: int, cadastro: Json, text: str) -> Json:
    return {
        "codigo_cliente_omie": number,
        "codigo_cliente_integracao": cadastro.get("codigo_cliente_integracao") or "",
        "codigo_status": "0",
        "descricao_status": text,
    }


def _announce(call: Call, number: int, cadastro: Json, what: str) -> None:
    if call.sim.outbox.wanted:
        event = {
            "codigo_cliente_omie": number,
            "codigo_cliente_integracao": cadastro.get("codigo_cliente_integracao") or "",
            "cnpj_cpf": cadastro.get("cnpj_cpf") or "",
            "razao_social": cadastro.get("razao_social") or "",
        }
        call.sim.outbox.emit(call.app.company, call.app.app_key, f"ClienteFornecedor.{what}", event, call.now)

"""Omie's envelope and its strictness, through the core's one door."""

import json

import pytest

from simulators.omie import registers
from simulators.omie.core import HANDLERS, OmieCore
from simulators.omie.desk import Desk, small_app, small_contract
from simulators.omie.schema import LIST, Complex, services
from simulators.omie.switches import SwitchError, Switches

FAT = "servicos/contratofat"
CTR = "servicos/contrato"


def desk(count: int = 3, **switches: object) -> Desk:
    core = OmieCore([small_app(count)], seed=1, latency_ms=40)
    core.switches.update(switches)
    return Desk(core, pause=1.0)


def test_the_documented_call_answers_the_documented_fields():
    reply = desk().ask(FAT, "FaturarContrato", {"nCodCtr": 1001})
    assert reply.status == 200
    assert set(reply.json) == {"nCodCtr", "nCodOS", "cCodStatus", "cDescStatus"}
    assert reply.json["cCodStatus"] == "0"
    assert reply.headers["X-Omie-ParallelRateLimit"] == "1/4"


def test_a_wrong_url_is_no_json():
    reply = desk().send("/api/v1/servicos/contratos/", b"{}")
    assert (reply.status, reply.json) == (404, {})


def test_without_the_trailing_slash_it_redirects():
    caller = desk()
    assert caller.send("/api/v1/servicos/contratofat", b"{}").status == 301
    caller.core.switches.update({"missing_slash": "accept"})
    assert caller.send("/api/v1/servicos/contratofat", b"{}").status == 403


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"{", "ERROR: JSON request with SyntaxError"), (b"[1]", "ERROR: Invalid JSON Object")],
)
def test_what_is_not_a_json_object_is_a_fault(body, text):
    reply = desk().send("/api/v1/servicos/contratofat/", body)
    assert (reply.status, reply.text) == (500, text)


@pytest.mark.parametrize(
    ("envelope", "text"),
    [
        ({"app_secret": "wrong"}, "A chave de acesso está inválida ou o aplicativo está suspenso."),
        ({"app_key": "nobody"}, "A chave de acesso está inválida ou o aplicativo está suspenso."),
        ({"app_key": ""}, "A chave de acesso não está preenchida ou não é válida."),
    ],
)
def test_a_wrong_key_is_403(envelope, text):
    reply = desk().ask(FAT, "FaturarContrato", {"nCodCtr": 1001}, **envelope)
    assert (reply.status, reply.code, reply.text) == (403, "SOAP-ENV:Server", text)


def test_an_unknown_call_and_a_call_of_another_resource_do_not_exist():
    assert desk().ask(FAT, "FaturarTudo").text == "error Method FaturarTudo not exists"
    assert desk().ask(CTR, "FaturarContrato", {"nCodCtr": 1001}).text == "error Method FaturarContrato not exists"


@pytest.mark.parametrize("param", [[{}], [], None, {}])
def test_an_empty_parameter_is_client_71(param):
    reply = desk().ask(FAT, "FaturarContrato", None, param=param)
    assert (reply.code, reply.text) == ("SOAP-ENV:Client-71", "Nenhum parâmetro foi recebido em WS_PARAMS!")


def test_several_parameters_are_refused():
    reply = desk().ask(FAT, "FaturarContrato", None, param=[{"nCodCtr": 1001}, {"nCodCtr": 1002}])
    assert reply.status == 500


def test_an_unknown_tag_is_named_in_capitals_with_its_complex_type():
    reply = desk().ask(CTR, "UpsertContrato", {"cabecalho": {"codigo_cliente": 1}})
    assert (reply.status, reply.code) == (500, "SOAP-ENV:Client-5001")
    assert reply.text == "ERROR: Tag [CODIGO_CLIENTE] não faz parte da estrutura do tipo complexo [cabecalho]!"
    assert reply.headers["OmieAPI-Error"].startswith("5001 - ERROR: Tag [CODIGO_CLIENTE]")


def test_unknown_tags_are_found_inside_lists():
    reply = desk().ask(CTR, "UpsertContrato", {"itensContrato": [{"itemCabecalho": {"preco": 1}}]})
    assert "[PRECO] não faz parte da estrutura do tipo complexo [itemCabecalho]" in reply.text


def test_over_long_text_names_the_element_and_its_length():
    reply = desk().ask(CTR, "ConsultarContrato", {"contratoChave": {"cCodIntCtr": "x" * 21}})
    assert "O número máximo de caracteres permitido para o elemento [cCodIntCtr] é de 20" in reply.text


@pytest.mark.parametrize(
    "param",
    [
        {"contratoChave": {"nCodCtr": "dez"}},
        {"contratoChave": {"nCodCtr": True}},
        {"contratoChave": {"cCodIntCtr": 10}},
        {"contratoChave": [1]},
        {"contratoChave": None},
    ],
)
def test_a_wrong_type_is_refused(param):
    assert desk().ask(CTR, "ConsultarContrato", param).code == "SOAP-ENV:Client-1073"


def test_dates_must_be_dates():
    bad = small_contract(1)
    bad["cabecalho"]["dVigFinal"] = "2030-12-31"
    assert desk().ask(CTR, "AlterarContrato", bad).code == "SOAP-ENV:Client-1073"
    bad["cabecalho"]["dVigFinal"] = "31/02/2030"
    assert desk().ask(CTR, "AlterarContrato", bad).code == "SOAP-ENV:Client-1073"


def test_a_number_sent_as_text_is_read_as_in_omies_own_example():
    assert desk().ask(FAT, "FaturarContrato", {"nCodCtr": "1001"}).json["nCodCtr"] == 1001


def test_calculated_fields_are_accepted_and_ignored():
    caller = desk()
    sent = small_contract(1)
    sent["cabecalho"]["nValTotMes"] = 9
    sent["itensContrato"][0]["itemCabecalho"]["valorTotal"] = 9
    assert caller.ask(CTR, "AlterarContrato", sent).status == 200
    shown = caller.ask(CTR, "ConsultarContrato", {"contratoChave": {"nCodCtr": 1001}}).json["contratoCadastro"]
    assert shown["cabecalho"]["nValTotMes"] == 100


def test_tags_newer_than_the_crawl_are_accepted():
    caller = desk()
    sent = small_contract(1)
    sent["infAdic"] |= {"nIdDestinatario": 0, "cUsoConsumo": "N"}
    sent["itensContrato"][0]["itemImpostos"] |= {"aliqCbs": 0.9, "cstIbsCbs": "000", "nValorIBSNovo": 1}
    assert caller.ask(CTR, "AlterarContrato", sent).status == 200


def test_nulls_are_refused_unless_the_switch_accepts_them():
    sent = {"contratoChave": {"nCodCtr": 1001, "cCodIntCtr": None}}
    assert desk().ask(CTR, "ConsultarContrato", sent).status == 500
    assert desk(null_values="accept").ask(CTR, "ConsultarContrato", sent).status == 200


def test_every_handler_has_a_documented_parameter_and_reply():
    documented = services()
    for path, methods in HANDLERS.items():
        assert set(methods) <= set(documented[path])
    missing = {
        path: sorted(set(documented[path]) - set(methods))
        for path, methods in HANDLERS.items()
        if path not in ("/servicos/servico/", "/geral/contacorrente/")
    }
    assert not any(missing.values())


def test_replies_hold_documented_tags_only():
    """A walk over the whole product; what it answers must be what Omie documents."""
    caller = desk(same_id_lookup="off")
    walk = [
        (CTR, "ListarContratos", {"pagina": 1, "cExibirInfoCadastro": "S", "cExibeObs": "S"}),
        (CTR, "ConsultarContrato", {"contratoChave": {"nCodCtr": 1001}}),
        (FAT, "ObterContratos", {"cEtapa": "20"}),
        (FAT, "FaturarContrato", {"nCodCtr": 1001}),
        ("servicos/contratolote", "FaturarLoteContrato", {"cCodIntLote": "1"}),
        ("servicos/contratotpfat", "ListarTipoFatContrato", {"pagina": 1}),
        ("servicos/contratolote", "ListarLotesContrato", {"cExibirDetalhes": "S"}),
        ("servicos/os", "ListarOS", {"pagina": 1}),
        ("servicos/osp", "ObterOS", {"cEtapa": "60"}),
        ("servicos/oslote", "ListarLoteNfse", {"dDtFat": "01/12/2026"}),
        ("servicos/nfse", "ListarNFSEs", {"nPagina": 1, "cExibirDescricao": "S"}),
        ("financas/contareceber", "ListarContasReceber", {"pagina": 1}),
        ("financas/mf", "ListarMovimentos", {"nPagina": 1, "lDadosCad": True}),
        ("financas/pesquisartitulos", "PesquisarLancamentos", {"nPagina": 1}),
        ("geral/clientes", "ListarClientes", {"pagina": 1}),
        ("geral/clientes", "ListarClientesResumido", {"pagina": 1}),
        ("servicos/servico", "ListarCadastroServico", {"nPagina": 1}),
        ("geral/contacorrente", "ListarContasCorrentes", {"pagina": 1}),
        ("geral/categorias", "ListarCategorias", {"pagina": 1}),
        ("geral/contacorrente", "ListarResumoContasCorrentes", {"pagina": 1}),
    ]
    for resource, method, param in walk:
        reply = caller.ask(resource, method, param)
        assert reply.status == 200, (method, reply.text)
        _only_documented(reply.json, services()[f"/{resource}/"][method].reply, method)
        caller.wait(61)
    title = next(iter(caller.app.titles))
    order = next(iter(caller.app.orders))
    invoice = next(iter(caller.app.invoices))
    for resource, method, param in [
        ("servicos/os", "ConsultarOS", {"nCodOS": order}),
        ("servicos/os", "StatusOS", {"nCodOS": order, "lPdfDemo": True, "lPdfDest": True, "lRps": True, "lMsg": True}),
        ("servicos/osdocs", "ObterNFSe", {"nIdNf": invoice}),
        ("servicos/osdocs", "ObterRPS", {"nIdNf": invoice}),
        ("servicos/osdocs", "ObterDemonst", {"nIdNf": invoice}),
        ("servicos/osdocs", "ObterViaUnica", {"nIdNf": invoice}),
        ("servicos/osdocs", "ObterOS", {"nIdOs": order}),
        ("servicos/osdocs", "ObterRecibo", {"nIdRec": order}),
        ("financas/contareceber", "ConsultarContaReceber", {"codigo_lancamento_omie": title}),
        ("financas/contareceberboleto", "ObterBoleto", {"nCodTitulo": title}),
        ("financas/contareceber", "LancarRecebimento", {"codigo_lancamento": title, "valor": 10.5}),
        ("geral/clientes", "ConsultarCliente", {"codigo_cliente_omie": 501}),
        ("servicos/servico", "ConsultarCadastroServico", {"nCodServ": 88}),
        ("geral/contacorrente", "ConsultarContaCorrente", {"nCodCC": 77}),
        ("geral/categorias", "ConsultarCategoria", {"codigo": "1.01.02"}),
    ]:
        reply = caller.ask(resource, method, param)
        assert reply.status == 200, (method, reply.text)
        _only_documented(reply.json, services()[f"/{resource}/"][method].reply, method)


def _only_documented(value: dict, kind: Complex, method: str) -> None:
    for tag, item in value.items():
        assert tag in kind.fields, f"{method}: {tag} is not a tag of {kind.name}"
        field = kind.fields[tag]
        if field.of is not None:
            for one in item if field.kind == LIST else [item]:
                _only_documented(one, field.of, method)
        elif isinstance(item, str) and field.longest:
            assert len(item) <= field.longest, f"{method}: {tag} is longer than {field.longest}"


def test_switches_name_what_can_be_set():
    switches = Switches()
    switches.update({"items_on_alter": "replace", "redundant_on": "2", "limits": "false", "nfse_seconds": 3})
    assert (switches.items_on_alter, switches.redundant_on, switches.limits) == ("replace", 2, False)
    with pytest.raises(SwitchError, match="no switch 'itens'"):
        switches.update({"itens": 1})
    with pytest.raises(SwitchError, match="takes one of"):
        switches.update({"redundant_on": 9})
    with pytest.raises(SwitchError, match="true or false"):
        switches.update({"limits": "maybe"})
    with pytest.raises(SwitchError, match="takes a number"):
        switches.update({"nfse_seconds": "soon"})


def test_every_switch_is_explained():
    told = Switches.__doc__ or ""
    assert [name for name in Switches().to_dict() if name not in told] == []


def test_the_same_seed_gives_the_same_bytes():
    def run() -> list[bytes]:
        core = OmieCore([small_app(5)], seed=9, latency_ms=40)
        replies = []
        now = 1_796_119_200.0
        for number in range(1001, 1006):
            request = {"call": "FaturarContrato", "app_key": "acme-key", "app_secret": "acme-secret"}
            body = json.dumps({**request, "param": [{"nCodCtr": number}]}).encode()
            answer = core.handle("/api/v1/servicos/contratofat/", body, now=now)
            replies.append(answer.body)
            now += answer.delay
        return [*replies, json.dumps(core.read_book()).encode()]

    assert run() == run()


def test_categories_of_a_type_are_those_a_person_may_choose():
    caller = desk()
    caller.app.categories.clear()
    for row in (
        registers.category("1.01", "Receitas Diretas", totalizadora="S"),
        registers.category("1.01.02", "Serviços"),
        registers.category("1.01.99", "Antiga", conta_inativa="S"),
        registers.category("2.04.01", "Tarifas", conta_receita="N", conta_despesa="S"),
    ):
        caller.app.categories[row["codigo"]] = row

    def codes(**filters):
        caller.wait(61)
        reply = caller.ask("geral/categorias", "ListarCategorias", {"pagina": 1, **filters})
        return [row["codigo"] for row in reply.json["categoria_cadastro"]]

    assert codes() == ["1.01", "1.01.02", "1.01.99", "2.04.01"]
    assert codes(filtrar_apenas_ativo="S") == ["1.01", "1.01.02", "2.04.01"]
    assert codes(filtrar_por_tipo="R") == ["1.01.02"]
    assert codes(filtrar_por_tipo="D") == ["2.04.01"]
    found = caller.ask("geral/categorias", "ConsultarCategoria", {"codigo": "1.01.02"})
    assert found.json["descricao"] == "Serviços"
    assert caller.ask("geral/categorias", "ConsultarCategoria", {"codigo": "9"}).code == "SOAP-ENV:Client-105"
    assert caller.ask("geral/categorias", "ConsultarCategoria", {"codigo": ""}).code == "SOAP-ENV:Client-1000"

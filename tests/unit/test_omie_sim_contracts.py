"""Contracts in the Omie simulator: the register, the stages, billing, bulk lots."""

import pytest

from simulators.omie.core import OmieCore
from simulators.omie.desk import Desk, Reply, small_app, small_contract

CTR = "servicos/contrato"
FAT = "servicos/contratofat"
LOT = "servicos/contratolote"


def desk(count: int = 3, **switches: object) -> Desk:
    """An Omie that shows at once what was written, and answers the same question as often as it is asked."""
    core = OmieCore([small_app(count)], seed=1, latency_ms=0)
    prompt = {"same_id_lookup": "off", "redundant_on": 0, "read_lag": 0.0, "list_lag": 0.0}
    core.switches.update({**prompt, **switches})
    return Desk(core, pause=0.5)


def new_contract(**head: object) -> dict:
    sent = small_contract(1)
    del sent["cabecalho"]["nCodCtr"], sent["cabecalho"]["cNumCtr"]
    del sent["itensContrato"][0]["itemCabecalho"]["codItem"]
    sent["cabecalho"] |= {"cCodIntCtr": "NEW", **head}
    return sent


def shown(caller: Desk, nCodCtr: int = 1001) -> dict:
    return caller.ask(CTR, "ConsultarContrato", {"contratoChave": {"nCodCtr": nCodCtr}}).json["contratoCadastro"]


def items(contract: dict) -> list[tuple[str, float]]:
    return [
        (item["itemCabecalho"].get("codIntItem", ""), item["itemCabecalho"]["valorTotal"])
        for item in contract["itensContrato"]
    ]


def stage(caller: Desk, cEtapa: str) -> list[int]:
    return [row["nCodCtr"] for row in caller.ask(FAT, "ObterContratos", {"cEtapa": cEtapa}).json["listaContratos"]]


def bill(caller: Desk, nCodCtr: int = 1001) -> Reply:
    return caller.ask(FAT, "FaturarContrato", {"nCodCtr": nCodCtr})


# --------------------------------------------------------------------------------------------------- by default


def test_by_default_omie_shows_what_was_written_only_after_a_while_as_live_accounts_do():
    caller = Desk(OmieCore([small_app()], seed=1, latency_ms=0))
    began = caller.now
    item = {"itemCabecalho": {"codItem": 2002, "codIntItem": "I-2", "codServico": 88, "quant": 1, "valorUnit": 250}}
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1002}, "itensContrato": [item]})
    order = bill(caller).json["nCodOS"]

    assert items(shown(caller, 1002)) == [("I-2", 200.0)]
    assert stage(caller, "20") == [1001, 1002, 1003]
    assert "osCadastro" not in caller.ask("servicos/os", "ListarOS", {"pagina": 1}).json

    caller.wait(61)  # the same question again is answered from memory until then
    assert items(shown(caller, 1002)) == [("I-2", 250.0)]
    assert stage(caller, "20") == [1002, 1003]
    [listed] = caller.ask("servicos/os", "ListarOS", {"pagina": 1}).json["osCadastro"]
    assert listed["Cabecalho"]["nCodOS"] == order
    shown_at = (
        caller.app.contracts[1002].shown_at,
        caller.app.billed_in[202612][1001],
        caller.app.orders[order].listed_at,
    )
    assert began < min(shown_at) < max(shown_at) <= began + 8
    assert len(set(shown_at)) == 3, "each lags for itself"


# ------------------------------------------------------------------------------------------------ the register


def test_a_contract_is_included_found_by_its_code_and_totalled():
    caller = desk(0)
    sent = new_contract()
    head = sent["itensContrato"][0]["itemCabecalho"]
    head |= {"quant": 3, "valorUnit": 10.05, "cTpDesconto": "P", "aliqDesconto": 10, "valorAcrescimo": 1}
    reply = caller.ask(CTR, "IncluirContrato", sent)
    assert reply.json["cCodStatus"] == "0"
    found = caller.ask(CTR, "ConsultarContrato", {"contratoChave": {"cCodIntCtr": "NEW"}}).json["contratoCadastro"]
    assert found["cabecalho"]["nCodCtr"] == reply.json["nCodCtr"]
    assert found["cabecalho"]["cNumCtr"] == "2026/00001"
    assert found["cabecalho"]["nValTotMes"] == 28.13
    assert found["infoCadastro"]["dInc"] == "01/12/2026"


def test_the_same_integration_code_is_refused_with_the_known_id():
    reply = desk().ask(CTR, "IncluirContrato", new_contract(cCodIntCtr="C-2"))
    assert reply.code == "SOAP-ENV:Client-102"
    assert "já cadastrado para o Código de Integração [C-2] com o nCod [1002]" in reply.text


def test_the_same_integration_code_may_be_accepted_as_seen_live():
    caller = desk(duplicate_integration_code="accept")
    assert caller.ask(CTR, "IncluirContrato", new_contract(cCodIntCtr="C-2")).status == 200
    assert len(caller.app.contracts) == 4


@pytest.mark.parametrize(
    ("block", "tag", "value", "text"),
    [
        ("cabecalho", "nCodCli", 999, "Cliente não cadastrado para o Código [999] !"),
        ("cabecalho", "dVigFinal", "", "O preenchimento da tag [dVigFinal] é obrigatório!"),
        ("cabecalho", "nDiaFat", 32, "Valores válidos: de 1 a 31"),
        ("cabecalho", "cCodSit", "50", "Valores válidos: 00, 10, 90, 99"),
        ("infAdic", "cCodCateg", "", "O preenchimento da tag [cCodCateg] é obrigatório!"),
        ("infAdic", "nCodCC", 1, "Conta Corrente não cadastrada para o Código [1] !"),
        ("vencTextos", "cTpVenc", "003", "Valores válidos: 001, 002"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(block, tag, value, text):
    sent = new_contract()
    sent[block][tag] = value
    reply = desk(1).ask(CTR, "IncluirContrato", sent)
    assert reply.status == 500
    assert text in reply.text


def test_an_item_needs_a_known_service_or_all_its_tax_codes():
    sent = new_contract()
    sent["itensContrato"][0]["itemCabecalho"]["codServico"] = 4
    assert desk().ask(CTR, "IncluirContrato", sent).code == "SOAP-ENV:Client-5002"
    del sent["itensContrato"][0]["itemCabecalho"]["codServico"]
    assert "[natOperacao] é obrigatório" in desk().ask(CTR, "IncluirContrato", sent).text


def test_an_item_takes_what_it_lacks_from_the_service_register():
    caller = desk()
    sent = new_contract()
    sent["itensContrato"] = [{"itemCabecalho": {"codServico": 88}}]
    number = caller.ask(CTR, "IncluirContrato", sent).json["nCodCtr"]
    (item,) = shown(caller, number)["itensContrato"]
    assert item["itemCabecalho"]["valorUnit"] == 99.9
    assert item["itemDescrServ"]["descrCompleta"] == "Assinatura mensal"


def test_altering_merges_items_by_default_so_an_item_with_a_new_code_is_added():
    caller = desk()
    change = {"cabecalho": {"nCodCtr": 1001}, "itensContrato": [{"itemCabecalho": {"codServico": 88, "quant": 1}}]}
    change["itensContrato"][0]["itemCabecalho"] |= {"codIntItem": "J-1", "valorUnit": 150}
    assert caller.ask(CTR, "AlterarContrato", change).status == 200
    assert items(shown(caller)) == [("I-1", 100.0), ("J-1", 150.0)]


def test_altering_replaces_items_where_the_switch_says_so():
    caller = desk(items_on_alter="replace")
    change = {"cabecalho": {"nCodCtr": 1001}, "itensContrato": [{"itemCabecalho": {"codServico": 88, "quant": 1}}]}
    change["itensContrato"][0]["itemCabecalho"] |= {"codIntItem": "J-1", "valorUnit": 150}
    caller.ask(CTR, "AlterarContrato", change)
    assert items(shown(caller)) == [("J-1", 150.0)]


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_an_item_with_a_known_code_is_changed_in_place_in_both_modes(mode):
    caller = desk(items_on_alter=mode)
    change = {"cabecalho": {"cCodIntCtr": "C-1"}, "itensContrato": [{"itemCabecalho": {"codIntItem": "I-1"}}]}
    change["itensContrato"][0]["itemCabecalho"]["valorUnit"] = 150
    caller.ask(CTR, "UpsertContrato", change)
    contract = shown(caller)
    assert items(contract) == [("I-1", 150.0)]
    assert contract["itensContrato"][0]["itemCabecalho"]["codItem"] == 2001
    assert contract["cabecalho"]["nValTotMes"] == 150


def test_upsert_includes_what_it_does_not_know():
    caller = desk()
    assert caller.ask(CTR, "UpsertContrato", new_contract()).json["cDescStatus"] == "Contrato cadastrado com sucesso!"
    assert caller.ask(CTR, "UpsertContrato", new_contract(nDiaFat=5)).json["cDescStatus"] == (
        "Contrato alterado com sucesso!"
    )
    assert len(caller.app.contracts) == 4


def test_linking_a_code_that_another_contract_has_is_refused():
    reply = desk().ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001, "cCodIntCtr": "C-2"}})
    assert reply.code == "SOAP-ENV:Client-102"


def test_items_are_excluded_by_code_but_never_the_last():
    caller = desk()
    change = {"cabecalho": {"nCodCtr": 1001}, "itensContrato": [{"itemCabecalho": {"codServico": 88, "quant": 1}}]}
    change["itensContrato"][0]["itemCabecalho"] |= {"codIntItem": "J-1", "valorUnit": 150}
    caller.ask(CTR, "AlterarContrato", change)
    drop = {"contratoChave": {"nCodCtr": 1001}, "ItensExclusao": [{"codIntItem": "I-1"}]}
    assert caller.ask(CTR, "ExcluirItem", drop).json["cCodStatus"] == "0"
    assert items(shown(caller)) == [("J-1", 150.0)]
    assert caller.ask(CTR, "ExcluirItem", drop).status == 500
    drop["ItensExclusao"] = [{"codIntItem": "J-1"}]
    assert "ao menos um item" in caller.ask(CTR, "ExcluirItem", drop).text


def test_pages_hold_at_most_a_hundred_and_end_in_a_fault():
    caller = desk(205)
    first = caller.ask(CTR, "ListarContratos", {"pagina": 1, "registros_por_pagina": 500}).json
    assert (first["registros"], first["total_de_paginas"], first["total_de_registros"]) == (100, 3, 205)
    last = caller.ask(CTR, "ListarContratos", {"pagina": 3, "registros_por_pagina": 500}).json
    assert [row["cabecalho"]["nCodCtr"] for row in last["contratoCadastro"]] == list(range(1201, 1206))
    beyond = caller.ask(CTR, "ListarContratos", {"pagina": 4, "registros_por_pagina": 100})
    assert (beyond.status, beyond.text) == (500, "ERROR: Não existem registros para a página [4]!")


def test_contracts_are_filtered_by_customer_and_by_day_of_change():
    caller = desk()
    assert caller.ask(CTR, "ListarContratos", {"pagina": 1, "filtrar_cnpj_cpf": "80716929000150"}).status == 200
    assert caller.ask(CTR, "ListarContratos", {"pagina": 1, "filtrar_cliente": 1}).code == "SOAP-ENV:Client-5113"
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1002, "nDiaFat": 5}})
    ask = {"pagina": 1, "filtrar_por_data_de": "01/12/2026", "filtrar_apenas_alteracao": "S"}
    changed = caller.ask(CTR, "ListarContratos", ask).json["contratoCadastro"]
    assert [row["cabecalho"]["nCodCtr"] for row in changed] == [1002]


# --------------------------------------------------------------------------------------- situations and stages


def test_situations_follow_their_methods():
    caller = desk()
    key = {"nCodCtr": 1001}
    assert caller.ask(FAT, "SuspenderContrato", key).json["cCodStatus"] == "0"
    assert shown(caller)["cabecalho"]["cCodSit"] == "90"
    assert "já está com a situação [Suspenso]" in caller.ask(FAT, "SuspenderContrato", key).text
    assert caller.ask(FAT, "ReativarContrato", key).status == 200
    assert caller.ask(FAT, "CancelarContrato", key).status == 200
    assert "situação [Cancelado]" in caller.ask(FAT, "SuspenderContrato", key).text
    assert shown(caller)["cabecalho"]["cCodSit"] == "99"


def test_a_repeated_suspension_is_harmless_where_the_switch_says_so():
    caller = desk(repeat_status_change="accept")
    for _ in range(2):
        assert caller.ask(FAT, "SuspenderContrato", {"nCodCtr": 1001}).json["cCodStatus"] == "0"


@pytest.mark.parametrize("method", ["FaturarContrato", "SuspenderContrato", "ValidarContrato"])
def test_an_unknown_contract_is_103(method):
    reply = desk().ask(FAT, method, {"nCodCtr": 9})
    assert (reply.code, reply.text) == (
        "SOAP-ENV:Client-103",
        "ERROR: Contrato não cadastrado para o Código [9] !",
    )


def test_stage_20_is_active_due_in_vigencia_and_not_billed():
    caller = desk(6)
    for number, head in {
        1001: {"nDiaFat": 2},
        1002: {"dVigFinal": "30/11/2026"},
        1003: {"dVigInicial": "02/12/2026"},
        1004: {"cCodSit": "90"},
    }.items():
        assert caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": number, **head}}).status == 200
    assert stage(caller, "20") == [1005, 1006]
    bill(caller, 1005)
    assert (stage(caller, "20"), stage(caller, "30")) == ([1006], [1005])
    assert len(stage(caller, "10")) == 6
    assert stage(caller, "40") == [1002]
    caller.wait(86400)
    assert stage(caller, "20") == [1001, 1003, 1006]
    assert caller.ask(FAT, "ObterContratos", {"cEtapa": "50"}).status == 500


def test_day_31_is_due_on_the_last_day_of_a_shorter_month():
    caller = desk(1)
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001, "nDiaFat": 31}})
    caller.now += 89 * 86400  # 28 February
    assert stage(caller, "20") == [1001]
    caller.now -= 86400
    assert stage(caller, "20") == []


def test_a_quarterly_contract_is_due_every_third_month():
    caller = desk(1)
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001, "cTipoFat": "03"}})
    assert stage(caller, "20") == []
    caller.now += 31 * 86400
    assert stage(caller, "20") == [1001]


def test_a_new_month_puts_a_billed_contract_back_into_stage_20():
    caller = desk(1)
    bill(caller)
    assert stage(caller, "20") == []
    caller.now += 31 * 86400
    assert (stage(caller, "20"), stage(caller, "30")) == ([1001], [])


def test_the_month_is_sao_paulos():
    caller = desk(1)
    caller.now += 30 * 86400 + 17.9 * 3600  # 31 December, 23:54 in São Paulo, already January in UTC
    bill(caller)
    assert caller.core.book.billings[0].month == "2026-12"


# ----------------------------------------------------------------------------------------------------- billing


def test_billing_makes_an_order_of_origin_ctr_in_stage_60():
    caller = desk()
    number = bill(caller, 1002).json["nCodOS"]
    order = caller.ask("servicos/os", "ConsultarOS", {"nCodOS": number}).json
    assert order["Cabecalho"]["cEtapa"] == "60"
    assert order["InfoCadastro"]["cOrigem"] == "CTR"
    assert order["InfoCadastro"]["cFaturada"] == "S"
    assert order["InformacoesAdicionais"]["cNumContrato"] == "2026/00002"
    assert order["ServicosPrestados"][0]["nIdItem"] == 2002
    assert order["Parcelas"][0]["dDtVenc"] == "10/12/2026"
    assert order["Cabecalho"]["nValorTotal"] == 200


def test_a_second_billing_in_a_month_is_accepted_by_default_and_shows_in_the_book():
    caller = desk()
    assert [bill(caller).status for _ in range(2)] == [200, 200]
    (twice,) = caller.core.read_book()["billed_twice"]
    assert (twice["cCodIntCtr"], twice["month"], len(twice["nCodOS"])) == ("C-1", "2026-12", 2)


def test_a_second_billing_in_a_month_is_refused_where_the_switch_says_so():
    caller = desk(second_billing="refuse")
    assert bill(caller).status == 200
    assert "já foi faturado neste mês" in bill(caller).text
    assert caller.core.read_book()["billed_twice"] == []


def test_outside_stage_20_billing_is_accepted_by_default_and_refused_by_switch():
    assert bill_early(desk(1)).status == 200
    assert "não está disponível para faturamento" in bill_early(desk(1, bill_outside_stage_20="refuse")).text


def bill_early(caller: Desk) -> Reply:
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001, "nDiaFat": 20}})
    return bill(caller)


@pytest.mark.parametrize(("cCodSit", "word"), [("00", "Em Elaboração"), ("90", "Suspenso"), ("99", "Cancelado")])
def test_only_an_active_contract_is_billed(cCodSit, word):
    caller = desk(1)
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001, "cCodSit": cCodSit}})
    assert f"está com a situação [{word}]" in bill(caller).text


def test_a_blocked_customer_is_not_billed():
    caller = desk(1)
    caller.ask("geral/clientes", "AlterarCliente", {"codigo_cliente_omie": 501, "bloquear_faturamento": "S"})
    assert "faturamento bloqueado" in bill(caller).text


def test_an_item_for_the_next_billing_only_is_billed_once():
    caller = desk(1)
    once = {"itemCabecalho": {"codIntItem": "X", "codServico": 88, "quant": 1, "valorUnit": 30}}
    once["itemOutrasInf"] = {"nTipoItVigFinal": 3}
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001}, "itensContrato": [once]})
    bill(caller)
    assert items(shown(caller)) == [("I-1", 100.0)]
    caller.now += 31 * 86400
    bill(caller)
    assert [billing.amount for billing in caller.core.book.billings] == [13000, 10000]


def test_an_item_outside_its_own_vigencia_is_not_billed():
    caller = desk(1)
    later = {"itemCabecalho": {"codIntItem": "X", "codServico": 88, "quant": 1, "valorUnit": 30}}
    later["itemOutrasInf"] = {"nTipoItVigFinal": 1, "dItVigInicial": "01/01/2027", "dItVigFinal": "31/01/2027"}
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001}, "itensContrato": [later]})
    for _ in range(3):
        bill(caller)
        caller.now += 31 * 86400
    assert [billing.amount for billing in caller.core.book.billings] == [10000, 13000, 10000]


def test_a_reimbursement_is_a_second_line_without_iss_and_goes_unless_it_recurs():
    caller = desk(1)
    expenses = [
        {"nValorReemb": 50, "cDescReemb": "Multa por atraso", "cRecorrenteReemb": "N"},
        {"nValorReemb": 5, "cDescReemb": "Correio", "cRecorrenteReemb": "S"},
    ]
    change = {"cabecalho": {"nCodCtr": 1001}, "despesasReembolsaveis": {"despesaReembolsavel": expenses}}
    assert caller.ask(CTR, "AlterarContrato", change).status == 200
    number = bill(caller).json["nCodOS"]
    order = caller.ask("servicos/os", "ConsultarOS", {"nCodOS": number}).json
    assert order["Cabecalho"]["nValorTotal"] == 155
    assert [line["cReembolso"] for line in order["ServicosPrestados"]] == ["N", "S", "S"]
    assert order["ServicosPrestados"][1]["impostos"]["nBaseISS"] == 0
    left = shown(caller)["despesasReembolsaveis"]["despesaReembolsavel"]
    assert [expense["cDescReemb"] for expense in left] == ["Correio"]


@pytest.mark.parametrize(
    ("terms", "due"),
    [
        ({"cTpVenc": "001", "nDias": 10}, "11/12/2026"),
        ({"cTpVenc": "002", "nDiaFixo": 5, "cProxMes": "S"}, "05/01/2027"),
        ({"cTpVenc": "002", "nDiaFixo": 31, "cProxMes": "N"}, "31/12/2026"),
        ({"cTpVenc": "002", "nDiaFixo": 5, "cProxMes": "N", "cPostergar": "S"}, "07/12/2026"),
        ({"cTpVenc": "002", "nDiaFixo": 5, "cProxMes": "N", "cAntecipar": "S"}, "04/12/2026"),
    ],
)
def test_the_due_date_follows_the_contracts_terms(terms, due):
    caller = desk(1)
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001}, "vencTextos": terms})
    bill(caller)
    assert caller.ask("servicos/os", "ListarOS", {"pagina": 1}).json["osCadastro"][0]["Parcelas"][0]["dDtVenc"] == due


def test_a_contract_with_receipt_and_link_is_refused_and_stays_as_it_was():
    caller = desk(1)
    mails = {"cEnviarRecibo": "S", "cEnviarLinkNfse": "S"}
    reply = caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001}, "emailCliente": mails})
    assert (reply.status, "[cEnviarRecibo] e [cEnviarLinkNfse]" in reply.text) == (500, True)
    alone = {"cEnviarRecibo": "S", "cEnviarLinkNfse": "N"}
    assert caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1001}, "emailCliente": alone}).status == 200


def test_validating_a_contract_answers_softly():
    caller = desk(2)
    assert caller.ask(FAT, "ValidarContrato", {"nCodCtr": 1001}).json["cCodStatus"] == "0"
    caller.ask(FAT, "SuspenderContrato", {"nCodCtr": 1001})
    reply = caller.ask(FAT, "ValidarContrato", {"nCodCtr": 1001})
    assert (reply.status, reply.json["cCodStatus"]) == (200, "1")
    caller.core.switches.update({"empty_on_alter": "clear"})
    caller.ask("geral/clientes", "AlterarCliente", {"codigo_cliente_omie": 501, "email": ""})
    caller.ask(CTR, "AlterarContrato", {"cabecalho": {"nCodCtr": 1002}, "emailCliente": {"cUtilizarEmails": ""}})
    reply = caller.ask(FAT, "ValidarContrato", {"nCodCtr": 1002})
    assert reply.json["cDescStatus"] == "Para emitir falta preencher o E-mail."


def test_a_person_bills_in_omies_screen():
    caller = desk()
    caller.core.bill_by_person("acme", 1003, now=caller.now)
    assert stage(caller, "30") == [1003]
    assert caller.core.book.billings[0].by == "person"


# -------------------------------------------------------------------------------------------------- bulk lots


def test_a_lot_bills_stage_20_in_the_background():
    caller = desk(5, lot_per_second=2)
    reply = caller.ask(LOT, "FaturarLoteContrato", {"cCodIntLote": "2026-12"}).json
    assert (reply["nQtdeFat"], reply["cCodStatus"]) == (5, "0")
    key = {"nIdLoteFat": reply["nIdLoteFat"]}
    status = caller.ask(LOT, "StatusLoteContrato", key).json
    assert (status["cStatus"], status["nQtdeProcessadas"], status["dConclusaoProc"]) == ("RUNNING", 0, "")
    caller.wait(1)
    assert caller.ask(LOT, "StatusLoteContrato", key).json["nQtdeProcessadas"] == 4
    caller.wait(2)
    status = caller.ask(LOT, "StatusLoteContrato", key).json
    assert (status["cStatus"], status["nQtdeTotal"], status["cOrigem"]) == ("DONE", 5, "API")
    assert {billing.by for billing in caller.core.book.billings} == {"lote"}
    assert stage(caller, "20") == []


def test_a_lot_tells_each_contract_and_what_failed():
    caller = desk(3, lot_per_second=1)
    lot = caller.ask(LOT, "FaturarLoteContrato", {"cCodIntLote": "1"}).json["nIdLoteFat"]
    caller.ask(FAT, "SuspenderContrato", {"nCodCtr": 1002})
    bill(caller, 1003)
    caller.wait(5)
    ask = {"nPagina": 1, "nRegistros": 10, "nIdLoteFat": lot, "cExibirDetalhes": "S"}
    (row,) = caller.ask(LOT, "ListarLotesContrato", ask).json["lotes"]
    assert [(detail["nIdContrato"], detail["cStatus"]) for detail in row["detalhes"]] == [
        (1001, "DONE"),
        (1002, "ERROR"),
        (1003, "ERROR"),
    ]
    assert row["detalhes"][0]["nIdPedido"] in caller.app.orders
    assert len(caller.core.book.billings) == 2


def test_the_details_of_a_lot_may_be_one_object_a_row():
    caller = desk(2, lot_details="object")
    caller.ask(LOT, "FaturarLoteContrato", {"cCodIntLote": "1"})
    caller.wait(5)
    ask = {"nPagina": 1, "dDtIncDe": "01/12/2026", "dDtIncAte": "01/12/2026", "cExibirDetalhes": "S"}
    rows = caller.ask(LOT, "ListarLotesContrato", ask).json["lotes"]
    assert [row["detalhes"]["nIdContrato"] for row in rows] == [1001, 1002]


def test_an_unknown_lot_is_a_fault():
    assert desk().ask(LOT, "StatusLoteContrato", {"nIdLoteFat": 9}).code == "SOAP-ENV:Client-103"

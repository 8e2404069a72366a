"""Service orders, NFS-e, titles, boletos, movements and customers of the Omie simulator."""

import pytest

from simulators.omie.core import OmieCore
from simulators.omie.desk import Desk, small_app

OS = "servicos/os"
OSP = "servicos/osp"
FAT = "servicos/contratofat"
CR = "financas/contareceber"
BOL = "financas/contareceberboleto"
CLI = "geral/clientes"


def desk(count: int = 3, **switches: object) -> Desk:
    """An Omie that shows at once what was written, and answers the same question as often as it is asked."""
    core = OmieCore([small_app(count)], seed=1, latency_ms=0)
    prompt = {"same_id_lookup": "off", "redundant_on": 0, "read_lag": 0.0, "list_lag": 0.0}
    core.switches.update({**prompt, **switches})
    return Desk(core, pause=0.5)


def billed(caller: Desk, nCodCtr: int = 1001) -> int:
    return caller.ask(FAT, "FaturarContrato", {"nCodCtr": nCodCtr}).json["nCodOS"]


def new_order(**head: object) -> dict:
    return {
        "Cabecalho": {"nCodCli": 501, "cCodIntOS": "JST-1#2026-12", "cEtapa": "50", **head},
        "InformacoesAdicionais": {"cCodCateg": "1.01.02", "nCodCC": 77, "cCidPrestServ": "SAO PAULO (SP)"},
        "ServicosPrestados": [{"nCodServico": 88, "nQtde": 2, "nValUnit": 50.25}],
        "Email": {"cEnvBoleto": "S", "cEnviarPara": "a@b.example"},
    }


# --------------------------------------------------------------------------------------------- service orders


def test_an_order_is_included_once_by_its_integration_code():
    caller = desk()
    reply = caller.ask(OS, "IncluirOS", new_order()).json
    assert reply["cDescStatus"] == "Ordem de Serviço cadastrado com sucesso!"
    assert reply["cNumOS"] == "000000000000001"
    again = caller.ask(OS, "IncluirOS", new_order())
    assert again.code == "SOAP-ENV:Client-102"
    assert f"[{reply['nCodOS']}]" in again.text
    found = caller.ask(OS, "ConsultarOS", {"cCodIntOS": "JST-1#2026-12"}).json
    assert found["Cabecalho"]["nValorTotal"] == 100.5
    assert found["InfoCadastro"]["cFaturada"] == "N"


def test_an_unknown_order_is_103_with_omies_words():
    reply = desk().ask(OS, "ConsultarOS", {"cCodIntOS": "999999999999"})
    assert (reply.code, reply.text) == (
        "SOAP-ENV:Client-103",
        "ERROR: OS não cadastrada para o Código de Integração [999999999999] !",
    )


def test_altering_an_order_needs_its_key_and_its_lines_by_sequence():
    caller = desk()
    assert "Informe a Tag [nCodOS] ou [cCodIntOS]" in caller.ask(OS, "AlterarOS", {"Cabecalho": {}}).text
    number = caller.ask(OS, "IncluirOS", new_order()).json["nCodOS"]
    rows = [{"nSeqItem": 1, "nValUnit": 10}, {"cAcaoItem": "I", "nCodServico": 88, "nQtde": 1, "nValUnit": 5}]
    change = {"Cabecalho": {"nCodOS": number}, "ServicosPrestados": rows}
    assert caller.ask(OS, "AlterarOS", change).status == 200
    found = caller.ask(OS, "ConsultarOS", {"nCodOS": number}).json
    assert [line["nValUnit"] for line in found["ServicosPrestados"]] == [10, 5]
    assert found["Cabecalho"]["nValorTotal"] == 25


def test_stages_change_until_the_order_is_billed():
    caller = desk()
    number = caller.ask(OS, "IncluirOS", new_order(cEtapa="10")).json["nCodOS"]
    assert caller.ask(OS, "TrocarEtapaOS", {"nCodOS": number, "cEtapa": "30"}).json["codigo_status"] == "0"
    assert caller.ask(OSP, "ObterOS", {"cEtapa": "30"}).json["listaOS"][0]["nIdPed"] == number
    assert caller.ask(OSP, "FaturarOS", {"nCodOS": number}).json["cCodStatus"] == "0"
    assert "já foi faturada" in caller.ask(OSP, "FaturarOS", {"nCodOS": number}).text
    assert "não pode ser alterada" in caller.ask(OS, "TrocarEtapaOS", {"nCodOS": number, "cEtapa": "10"}).text
    assert "não pode ser excluída" in caller.ask(OS, "ExcluirOS", {"nCodOS": number}).text


def test_installments_make_one_title_each():
    caller = desk()
    rows = [
        {"nParcela": 1, "dDtVenc": "10/12/2026", "nValor": 50},
        {"nParcela": 2, "dDtVenc": "10/01/2027", "nValor": 50.5},
    ]
    assert caller.ask(OS, "IncluirOS", {**new_order(), "Parcelas": rows[:1]}).status == 500
    number = caller.ask(OS, "IncluirOS", {**new_order(), "Parcelas": rows}).json["nCodOS"]
    caller.ask(OSP, "FaturarOS", {"nCodOS": number})
    caller.wait(120)
    titles = caller.ask(CR, "ListarContasReceber", {"pagina": 1}).json["conta_receber_cadastro"]
    assert [(t["valor_documento"], t["data_vencimento"], t["numero_parcela"]) for t in titles] == [
        (50, "10/12/2026", "001/002"),
        (50.5, "10/01/2027", "002/002"),
    ]


def test_orders_are_listed_by_billing_day_status_and_code():
    caller = desk()
    first, second = billed(caller, 1001), billed(caller, 1002)
    caller.ask(OS, "IncluirOS", new_order())

    def numbers(**filters: object) -> list[int]:
        reply = caller.ask(OS, "ListarOS", {"pagina": 1, **filters})
        return [row["Cabecalho"]["nCodOS"] for row in reply.json.get("osCadastro", [])]

    day = {"filtrar_por_data_faturamento_de": "01/12/2026", "filtrar_por_data_faturamento_ate": "01/12/2026"}
    assert numbers(**day) == [first, second]
    assert numbers(filtrar_por_status="F", ordem_decrescente="S") == [second, first]
    assert len(numbers(filtrar_por_status="N")) == 1
    assert numbers(filtrar_por_codigo=[{"nCodOS": second}]) == [second]
    assert numbers(filtrar_por_etapa="20") == []


def test_a_list_of_orders_may_leave_the_contracts_number_out():
    caller = desk()
    billed(caller)

    def block(name: str) -> dict:
        return caller.ask(OS, "ListarOS", {"pagina": 1}).json["osCadastro"][0][name]

    assert block("InformacoesAdicionais")["cNumContrato"] == "2026/00001"
    assert "nCodCtr" not in block("Cabecalho")
    caller.core.switches.update({"list_os_cNumContrato": "absent", "os_nCodCtr": "present"})
    assert "cNumContrato" not in block("InformacoesAdicionais")
    assert block("Cabecalho")["nCodCtr"] == 1001


def test_an_order_and_its_note_may_say_only_later_of_which_contract_they_are():
    caller = desk(os_named_after=100.0)
    number = billed(caller)

    def named() -> list[object]:
        order = caller.ask(OS, "ConsultarOS", {"nCodOS": number}).json
        [note] = caller.ask("servicos/nfse", "ListarNFSEs", {"nCodigoOS": number}).json["nfseEncontradas"]
        return [order["InformacoesAdicionais"].get("cNumContrato"), note["OrdemServico"]["nCodigoContrato"]]

    assert named() == [None, 0]
    caller.wait(100)
    assert named() == ["2026/00001", 1001]


# ------------------------------------------------------------------------------------------------ NFS-e and on


def test_the_nfse_the_title_and_the_boleto_come_later_and_in_this_order():
    caller = desk(nfse_seconds=30, boleto_seconds=10)
    number = billed(caller)

    def rps() -> str:
        return caller.ask(OS, "StatusOS", {"nCodOS": number}).json["ListaRpsNfse"][0]["cStatusRps"]

    assert rps() == "001"
    assert caller.ask(CR, "ListarContasReceber", {"pagina": 1}).json["conta_receber_cadastro"] == []
    while rps() == "001":
        caller.wait(1)
    assert rps() == "002"
    while rps() == "002":
        caller.wait(1)
    assert rps() == "004"
    (title,) = caller.ask(CR, "ListarContasReceber", {"pagina": 1}).json["conta_receber_cadastro"]
    assert (title["id_origem"], title["nCodOS"], title["numero_documento"]) == ("VENR", number, "RPS 1")
    assert title["boleto"]["cGerado"] == "N"
    key = {"nCodTitulo": title["codigo_lancamento_omie"]}
    assert caller.ask(BOL, "ObterBoleto", key).json["cCodStatus"] == "103"
    caller.wait(10)
    boleto = caller.ask(BOL, "ObterBoleto", key).json
    assert (boleto["cCodStatus"], boleto["cDesStatus"]) == ("0", "Boleto gerado com sucesso!")
    assert len(boleto["cCodBarras"]) == 44
    assert (boleto["nPerJuros"], boleto["nPerMulta"]) == (1, 2)


def test_a_rejected_nfse_has_messages_and_no_title_until_it_is_sent_again():
    caller = desk(nfse_rejected_share=1)
    number = billed(caller)
    caller.wait(60)
    (rps,) = caller.ask(OS, "StatusOS", {"nCodOS": number, "lMsg": True}).json["ListaRpsNfse"]
    assert rps["cStatusRps"] == "003"
    assert rps["mensagens"][0]["cSituacao"] == "ERRO"
    assert caller.ask("servicos/nfse", "ListarNFSEs", {"nPagina": 1, "cStatusNFSe": "R"}).json["nTotRegistros"] == 1
    assert caller.app.titles == {}
    caller.core.switches.update({"nfse_rejected_share": 0})
    assert caller.ask(OSP, "ReenviarOS", {"nCodOS": number}).status == 200
    caller.wait(60)
    assert len(caller.app.titles) == 1
    assert "não possui RPS com erro" in caller.ask(OSP, "ReenviarOS", {"nCodOS": number}).text


def test_nfses_are_listed_with_their_contract_and_nothing_found_is_an_empty_list():
    caller = desk()
    empty = caller.ask("servicos/nfse", "ListarNFSEs", {"nPagina": 1})
    assert (empty.status, empty.json["nfseEncontradas"], empty.json["nTotRegistros"]) == (200, [], 0)
    number = billed(caller, 1002)
    caller.wait(60)
    ask = {"nPagina": 1, "nRegPorPagina": 10, "dEmiInicial": "01/12/2026", "nCodigoContrato": 1002}
    (nfse,) = caller.ask("servicos/nfse", "ListarNFSEs", ask).json["nfseEncontradas"]
    assert nfse["OrdemServico"]["nCodigoOS"] == number
    assert nfse["Cabecalho"]["cStatusNFSe"] == "F"
    assert nfse["Valores"]["nValorISS"] == 5.8
    docs = caller.ask("servicos/osdocs", "ObterNFSe", {"nIdNf": nfse["Cabecalho"]["nCodNF"]}).json
    assert docs["cLinkPortal"]
    assert "Expires=" in docs["cPdfNFSe"]


def test_a_days_nfses_are_read_in_bulk():
    caller = desk()
    billed(caller, 1001)
    billed(caller, 1002)
    ask = {"dDtFat": "01/12/2026", "nPagina": 1, "nRegistros": 50}
    assert caller.ask("servicos/oslote", "ListarLoteNfse", {**ask, "cStatusLote": "004"}).status == 500
    caller.wait(60)
    rows = caller.ask("servicos/oslote", "ListarLoteNfse", {**ask, "cStatusLote": "004"}).json["nfseLote"]
    assert [row["cNumContrato"] for row in rows] == ["2026/00001", "2026/00002"]


def test_all_orders_of_a_column_are_billed_as_a_lot():
    caller = desk()
    for n in range(3):
        caller.ask(OS, "IncluirOS", new_order(cCodIntOS=f"L-{n}"))
    lot = caller.ask("servicos/oslote", "FaturarLoteOS", {"cEtapa": "50"}).json
    assert lot["nQtdeFat"] == 3
    caller.wait(5)
    assert caller.ask("servicos/oslote", "StatusLoteOS", {"nIdLoteFat": lot["nIdLoteFat"]}).json["cStatus"] == "DONE"
    assert caller.ask("servicos/oslote", "ListarLotesOS", {"nPagina": 1}).json["nTotRegistros"] == 1
    assert caller.ask(OSP, "ObterOS", {"cEtapa": "50"}).json["listaOS"] == []


def test_cancelling_an_order_cancels_its_title_and_frees_its_contract():
    caller = desk()
    number = billed(caller)
    caller.wait(60)
    assert caller.ask(OSP, "CancelarOS", {"nCodOS": number}).json["cCodStatus"] == "0"
    assert [title.cancelled for title in caller.app.titles.values()] == [True]
    assert 1001 in [
        row["nCodCtr"] for row in caller.ask(FAT, "ObterContratos", {"cEtapa": "20"}).json["listaContratos"]
    ]
    billed(caller)
    assert caller.core.read_book()["billed_twice"] == []


def test_boletos_wait_for_a_request_where_the_switch_or_the_customer_says_so():
    for caller in (desk(boleto="on_request"), desk()):
        caller.ask(CLI, "AlterarCliente", {"codigo_cliente_omie": 501, "recomendacoes": {"gerar_boletos": "N"}})
        billed(caller)
        caller.wait(120)
        (number,) = caller.app.titles
        assert caller.ask(BOL, "ObterBoleto", {"nCodTitulo": number}).json["cLinkBoleto"] == ""
        assert caller.ask(BOL, "GerarBoleto", {"nCodTitulo": number}).json["cLinkBoleto"]


# -------------------------------------------------------------------------------------------------- receivables


def new_title(**fields: object) -> dict:
    return {
        "codigo_lancamento_integracao": "T-1",
        "codigo_cliente_fornecedor": 501,
        "data_vencimento": "30/11/2026",
        "valor_documento": 100,
        "codigo_categoria": "1.01.02",
        "id_conta_corrente": 77,
        **fields,
    }


def test_a_title_is_included_altered_paid_and_reopened():
    caller = desk()
    number = caller.ask(CR, "IncluirContaReceber", new_title()).json["codigo_lancamento_omie"]
    key = {"codigo_lancamento_omie": number}
    assert caller.ask(CR, "ConsultarContaReceber", key).json["status_titulo"] == "ATRASADO"
    assert caller.ask(CR, "IncluirContaReceber", new_title()).code == "SOAP-ENV:Client-102"
    assert caller.ask(CR, "UpsertContaReceber", new_title(data_vencimento="01/12/2026")).status == 200
    assert caller.ask(CR, "ConsultarContaReceber", key).json["status_titulo"] == "VENCE HOJE"
    pay = {"codigo_lancamento": number, "valor": 60, "codigo_baixa_integracao": "B-1", "data": "01/12/2026"}
    assert caller.ask(CR, "LancarRecebimento", pay).json["liquidado"] == "N"
    assert caller.ask(CR, "ConsultarContaReceber", key).json["status_titulo"] == "PAGTO_PARCIAL"
    rest = {"codigo_lancamento": number, "valor": 43, "juros": 1, "multa": 2}
    assert caller.ask(CR, "LancarRecebimento", rest).json["liquidado"] == "S"
    assert caller.ask(CR, "ConsultarContaReceber", key).json["status_titulo"] == "RECEBIDO"
    assert "já está liquidado" in caller.ask(CR, "LancarRecebimento", rest).text
    assert caller.ask(CR, "CancelarRecebimento", {"codigo_baixa_integracao": "B-1"}).json["codigo_status"] == "0"
    assert caller.ask(CR, "ConsultarContaReceber", key).json["status_titulo"] == "PAGTO_PARCIAL"


def test_interest_and_fine_come_on_top_where_the_switch_says_so():
    caller = desk(receipt_value="net")
    number = caller.ask(CR, "IncluirContaReceber", new_title()).json["codigo_lancamento_omie"]
    pay = {"codigo_lancamento": number, "valor": 100, "juros": 1, "multa": 2}
    reply = caller.ask(CR, "LancarRecebimento", pay).json
    assert (reply["liquidado"], reply["valor_baixado"]) == ("S", 103)


def test_titles_are_filtered_by_status_whatever_its_spelling():
    caller = desk()
    caller.ask(CR, "IncluirContaReceber", new_title())
    caller.ask(CR, "IncluirContaReceber", new_title(codigo_lancamento_integracao="T-2", data_vencimento="02/12/2026"))

    def codes(**filters: object) -> list[str]:
        rows = caller.ask(CR, "ListarContasReceber", {"pagina": 1, **filters}).json["conta_receber_cadastro"]
        return [row["codigo_lancamento_integracao"] for row in rows]

    assert codes(filtrar_por_status="ATRASADO") == ["T-1"]
    assert codes(filtrar_por_status="AVENCER") == codes(filtrar_por_status="A VENCER") == ["T-2"]
    assert codes(filtrar_apenas_titulos_em_aberto="S", ordem_descrescente="S") == ["T-2", "T-1"]
    assert codes(filtrar_cliente=9) == []


def test_a_lot_of_titles_answers_row_by_row():
    caller = desk()
    rows = [new_title(), new_title(codigo_cliente_fornecedor=9, codigo_lancamento_integracao="T-2")]
    reply = caller.ask(CR, "IncluirContaReceberPorLote", {"lote": 1, "conta_receber_cadastro": rows}).json
    assert [row["codigo_status"] for row in reply["status_lote"]] == ["0", "105"]


def test_a_title_is_cancelled_or_excluded_only_without_receipts():
    caller = desk()
    number = caller.ask(CR, "IncluirContaReceber", new_title()).json["codigo_lancamento_omie"]
    baixa = caller.ask(CR, "LancarRecebimento", {"codigo_lancamento": number, "valor": 1}).json["codigo_baixa"]
    assert caller.ask(CR, "ConciliarRecebimento", {"codigo_baixa": baixa}).status == 200
    assert caller.ask(CR, "CancelarContaReceber", {"chave_lancamento": number}).status == 500
    caller.ask(CR, "CancelarRecebimento", {"codigo_baixa": baixa})
    assert caller.ask(CR, "CancelarContaReceber", {"chave_lancamento": number}).status == 200
    assert caller.ask(CR, "ExcluirContaReceber", {"chave_lancamento": number}).status == 200
    assert caller.ask(CR, "ConsultarContaReceber", {"codigo_lancamento_omie": number}).code == "SOAP-ENV:Client-105"


def test_a_boleto_is_prolonged_and_cancelled():
    caller = desk()
    number = caller.ask(CR, "IncluirContaReceber", new_title()).json["codigo_lancamento_omie"]
    key = {"cCodIntTitulo": "T-1"}
    caller.ask(BOL, "GerarBoleto", key)
    assert caller.ask(BOL, "ProrrogarBoleto", {**key, "dDtVenc": "20/12/2026"}).json["cCodStatus"] == "0"
    assert caller.app.titles[number].due.isoformat() == "2026-12-20"
    assert caller.ask(BOL, "CancelarBoleto", key).json["cCodStatus"] == "0"
    assert caller.ask(BOL, "ObterBoleto", {"nCodTitulo": 9}).json["cCodStatus"] == "103"


# ---------------------------------------------------------------------------------------------------- movements


def test_forecasts_are_among_the_movements_until_the_contract_is_billed():
    caller = desk(2)

    def groups(**filters: object) -> list[tuple[str, int]]:
        rows = caller.ask("financas/mf", "ListarMovimentos", {"nPagina": 1, **filters}).json.get("movimentos", [])
        return [(row["detalhes"]["cGrupo"], row["detalhes"]["nCodCtr"]) for row in rows]

    assert groups() == [("PREVISAO_CONTRATO", 1001), ("PREVISAO_CONTRATO", 1002)]
    assert groups(dDtVencDe="01/12/2026") == []
    assert groups(dDtVencDe="01/12/2026", dDtVencAte="31/12/2026", nCodCtr=1002) == [("PREVISAO_CONTRATO", 1002)]
    billed(caller)
    caller.wait(60)
    assert groups() == [("CONTA_A_RECEBER", 1001), ("PREVISAO_CONTRATO", 1002)]
    assert groups(cTpLancamento="CR") == [("CONTA_A_RECEBER", 1001)]


def test_overdue_titles_are_found_with_what_was_paid_on_them():
    caller = desk(0)
    caller.ask(CR, "IncluirContaReceber", new_title())
    caller.ask(CR, "LancarRecebimento", {"codigo_lancamento_integracao": "T-1", "valor": 40, "data": "01/12/2026"})
    ask = {"nPagina": 1, "cStatus": "ATRASADO", "cNatureza": "R", "cTpLancamento": "CR", "lDadosCad": True}
    (row,) = caller.ask("financas/mf", "ListarMovimentos", ask).json["movimentos"]
    assert (row["resumo"]["nValPago"], row["resumo"]["nValAberto"], row["resumo"]["cLiquidado"]) == (40, 60, "N")
    assert row["detalhes"]["cCPFCNPJCliente"] == "80.716.929/0001-50"
    paid = {"nPagina": 1, "dDtPagtoDe": "01/12/2026", "dDtPagtoAte": "01/12/2026"}
    (receipt,) = caller.ask("financas/mf", "ListarMovimentos", paid).json["movimentos"]
    assert receipt["detalhes"]["nValorMovCC"] == 40
    found = caller.ask("financas/pesquisartitulos", "PesquisarLancamentos", {"nPagina": 1, "cStatus": "ATRASADO"}).json
    assert found["titulosEncontrados"][0]["lancamentos"][0]["nValLanc"] == 40


# ---------------------------------------------------------------------------------------------------- customers


def test_a_customer_is_known_by_document_whatever_its_punctuation():
    caller = desk()
    sent = {"cnpj_cpf": "80716929000150", "razao_social": "Padaria Nova", "nome_fantasia": "Padaria"}
    reply = caller.ask(CLI, "UpsertClienteCpfCnpj", sent).json
    assert (reply["codigo_cliente_omie"], reply["descricao_status"]) == (501, "Cliente alterado com sucesso!")
    sent["cnpj_cpf"] = "11.222.333/0001-81"
    assert caller.ask(CLI, "UpsertClienteCpfCnpj", sent).json["descricao_status"] == "Cliente cadastrado com sucesso!"


@pytest.mark.parametrize("method", ["IncluirCliente", "UpsertCliente", "UpsertClienteCpfCnpj"])
def test_a_new_customer_must_have_a_fantasy_name(method):
    caller = desk()
    sent = {"codigo_cliente_integracao": "CLI-9", "cnpj_cpf": "11.222.333/0001-81", "razao_social": "Padaria Nova"}
    reply = caller.ask(CLI, method, sent)
    assert "O preenchimento da tag [nome_fantasia] é obrigatório!" in reply.text
    caller.core.switches.update({"nome_fantasia": "optional"})
    assert caller.ask(CLI, method, sent).json["descricao_status"] == "Cliente cadastrado com sucesso!"


@pytest.mark.parametrize(("switch", "left"), [("keep", "sala 1"), ("clear", "")])
def test_an_empty_text_empties_a_field_or_does_not(switch, left):
    caller = desk()
    caller.core.switches.update({"empty_on_alter": switch})
    key = {"codigo_cliente_omie": 501}
    caller.ask(CLI, "AlterarCliente", key | {"complemento": "sala 1", "bairro": "Centro"})
    caller.ask(CLI, "AlterarCliente", key | {"complemento": ""})
    found = caller.ask(CLI, "ConsultarCliente", key).json
    assert (found["complemento"], found["bairro"]) == (left, "Centro")


def test_a_known_customer_is_refused_with_its_id():
    caller = desk()
    sent = {"codigo_cliente_integracao": "CLI-1", "razao_social": "A", "nome_fantasia": "A"}
    reply = caller.ask(CLI, "IncluirCliente", sent)
    assert reply.text == "ERROR: Cliente já cadastrado para o Código de Integração [CLI-1] com o nCod [501] !"
    sent |= {"codigo_cliente_integracao": "CLI-2", "cnpj_cpf": "80.716.929/0001-50"}
    assert "para o CPF/CNPJ [80.716.929/0001-50] com o Id [501]" in caller.ask(CLI, "IncluirCliente", sent).text


def test_a_customer_is_not_consulted_by_document_but_listed_by_it():
    caller = desk()
    assert caller.ask(CLI, "ConsultarCliente", {"cnpj_cpf": "1"}).code == "SOAP-ENV:Client-5001"
    ask = {"pagina": 1, "clientesFiltro": {"cnpj_cpf": "80716929000150"}}
    assert caller.ask(CLI, "ListarClientes", ask).json["clientes_cadastro"][0]["codigo_cliente_omie"] == 501
    ask["clientesFiltro"] = {"razao_social": "padaria"}
    assert caller.ask(CLI, "ListarClientesResumido", ask).json["clientes_cadastro_resumido"][0]["codigo_cliente"] == 501
    ask["clientesFiltro"] = {"razao_social": "oficina"}
    assert caller.ask(CLI, "ListarClientes", ask).code == "SOAP-ENV:Client-5113"


def test_a_customer_with_contracts_is_not_excluded():
    caller = desk()
    assert caller.ask(CLI, "ExcluirCliente", {"codigo_cliente_omie": 501}).status == 500
    sent = {"codigo_cliente_integracao": "CLI-2", "razao_social": "A", "nome_fantasia": "A"}
    number = caller.ask(CLI, "UpsertCliente", sent).json["codigo_cliente_omie"]
    assert caller.ask(CLI, "ExcluirCliente", {"codigo_cliente_omie": number}).status == 200
    assert caller.ask(CLI, "ConsultarCliente", {"codigo_cliente_omie": number}).code == "SOAP-ENV:Client-105"


@pytest.mark.parametrize("method", ["IncluirClientesPorLote", "UpsertClientesPorLote"])
def test_deprecated_methods_are_gone(method):
    assert desk().ask(CLI, method, {"lote": 1}).text == f"error Method {method} not exists"


def test_omies_own_schedule_bills_what_is_due_and_its_lot_says_so():
    core = OmieCore([small_app(2)], seed=1)
    caller = Desk(core)
    core.bill_all("acme", now=caller.now)
    caller.wait(2)
    (lot,) = caller.ask("servicos/contratolote", "ListarLotesContrato", {"nPagina": 1}).json["lotes"]
    assert (lot["cOrigem"], lot["nQtdeProcessadas"], lot["cStatus"]) == ("SCH", 2, "DONE")
    assert len(core.read_book()["billings"]) == 2


def test_orders_made_by_api_can_be_asked_for_alone():
    caller = desk(1)
    order = {
        "Cabecalho": {"nCodCli": 501, "cEtapa": "50"},
        "ServicosPrestados": [{"nCodServico": 88, "nQtde": 1, "nValUnit": 10}],
        "InformacoesAdicionais": {"cCodCateg": "1.01.02", "nCodCC": 77},
    }
    made = caller.ask("servicos/os", "IncluirOS", order).json["nCodOS"]
    caller.core.bill_by_person("acme", 1001, now=caller.now)
    both = caller.ask("servicos/os", "ListarOS", {"pagina": 1}).json["osCadastro"]
    alone = caller.ask("servicos/os", "ListarOS", {"pagina": 1, "apenas_importado_api": "S"}).json["osCadastro"]
    assert len(both) == 2
    assert [os["Cabecalho"]["nCodOS"] for os in alone] == [made]

"""An invoice's state, what Jestor is told of it, and the message as the customer reads it."""

from dataclasses import replace
from datetime import date

import pytest

from billing.domain.invoice import (
    Addressee,
    CityMessage,
    InvoiceState,
    Nfse,
    NfseStatus,
    Slip,
    assess,
    greeted,
    page_asks_for,
    record,
    refusal,
    valid_nfse,
    what_to_fix,
)
from billing.domain.month import BillingMonth

DECEMBER = BillingMonth(2026, 12)
LINK = "https://click.omie.com/r/1a"
BARCODE = "34195126900001200501790001043510049102015000"
LINE = "34191.79001 01043.510047 91020.150008 5 12690000120050"
SLIP = Slip(7, date(2026, 12, 10), 120050, has_boleto=True, barcode=BARCODE)
TO = Addressee("Acme Tecnologia", "Padaria São João Ltda", "+5511988887771")
ISSUED = Nfse(NfseStatus.ISSUED, 9, "44")


def issued(*slips, nfse=ISSUED, **more):
    return assess(nfse, slips or (SLIP,), link=LINK, **more)


# --- the state


@pytest.mark.parametrize(
    ("invoice", "state", "awaits"),
    [
        (assess(Nfse(NfseStatus.NOT_YET)), InvoiceState.WAITING, "nfse"),
        (assess(ISSUED, (SLIP,)), InvoiceState.WAITING, "link"),
        (assess(ISSUED, link=LINK), InvoiceState.WAITING, "titulo"),
        (issued(replace(SLIP, has_boleto=False, barcode="")), InvoiceState.WAITING, "boleto"),
        (issued(SLIP, replace(SLIP, nCodTitulo=8, has_boleto=False, barcode="")), InvoiceState.WAITING, "boleto"),
        (issued(replace(SLIP, has_boleto=False, barcode=""), boleto_expected=False), InvoiceState.AUTHORISED, ""),
        (issued(replace(SLIP, has_boleto=False, barcode="", paid=True)), InvoiceState.AUTHORISED, ""),
        (issued(), InvoiceState.AUTHORISED, ""),
        (issued(told_nCodNF=9), InvoiceState.AUTHORISED, ""),
        (issued(told_nCodNF=8), InvoiceState.SUBSTITUTED, ""),
        (assess(Nfse(NfseStatus.CANCELLED, 9, "44")), InvoiceState.CANCELLED, ""),
        (assess(Nfse(NfseStatus.REJECTED)), InvoiceState.REJECTED, ""),
    ],
)
def test_what_omie_says_is_one_state(invoice, state, awaits):
    assert (invoice.state, invoice.awaits) == (state, awaits)


def test_of_several_nfses_the_issued_one_holds_and_of_those_the_newest():
    old, new = Nfse(NfseStatus.ISSUED, 8, "43"), Nfse(NfseStatus.ISSUED, 9, "44")
    assert valid_nfse([]) == Nfse(NfseStatus.NOT_YET)
    assert valid_nfse([replace(old, status=NfseStatus.CANCELLED), new]) == new
    assert valid_nfse([new, old, Nfse(NfseStatus.REJECTED)]) == new
    assert valid_nfse([Nfse(NfseStatus.CANCELLED, 8), Nfse(NfseStatus.REJECTED)]).status is NfseStatus.REJECTED


def test_one_document_has_one_identity_whatever_becomes_of_its_links():
    assert issued().identity == replace(issued(), link="https://elsewhere").identity
    assert issued().identity == issued(told_nCodNF=8).identity
    others = [
        issued(nfse=replace(ISSUED, nCodNF=10)),
        issued(replace(SLIP, due=date(2026, 12, 15))),
        issued(replace(SLIP, barcode="")),
        assess(Nfse(NfseStatus.CANCELLED, 9, "44")),
        assess(Nfse(NfseStatus.REJECTED), messages=[CityMessage("E1", "a")]),
        assess(Nfse(NfseStatus.REJECTED), messages=[CityMessage("E2", "a")]),
    ]
    assert len({issued().identity, *(other.identity for other in others)}) == 7


# --- what Jestor is told


def test_nothing_is_told_of_what_still_waits():
    assert record(assess(Nfse(NfseStatus.NOT_YET)), DECEMBER, 120050, TO) == {}


def test_an_authorised_invoice_is_told_whole():
    told = record(issued(), DECEMBER, 120050, TO)
    text = told.pop("whatsapp_text")
    assert told == {
        "month": "2026-12",
        "billed_status": "Faturado",
        "billed_amount": 1200.5,
        "invoice_number": "44",
        "invoice_link": LINK,
        "invoice_pdf": LINK,
        "boleto_link": LINK,
        "boleto_barcode": LINE,
        "due_date": "2026-12-10",
        "whatsapp_phone": "+5511988887771",
        "invoice_problem": "",
    }
    assert LINK in text


@pytest.mark.parametrize(
    ("invoice", "status"),
    [
        (assess(Nfse(NfseStatus.CANCELLED, 9, "44")), "NFS-e cancelada"),
        (assess(Nfse(NfseStatus.REJECTED), messages=[CityMessage("E1", "x")]), "NFS-e rejeitada"),
    ],
)
def test_what_must_not_be_sent_leaves_nothing_to_send(invoice, status):
    told = record(invoice, DECEMBER, 120050, TO)
    assert told["billed_status"] == status
    assert told.keys() == record(issued(), DECEMBER, 120050, TO).keys()
    sent = ("invoice_link", "invoice_pdf", "boleto_link", "boleto_barcode", "due_date", "whatsapp_phone")
    assert not any(told[word] for word in (*sent, "whatsapp_text"))
    assert told["invoice_problem"]


def test_a_doubtful_phone_is_said_and_not_used():
    told = record(issued(), DECEMBER, 120050, replace(TO, phone="", phone_problem="o telefone é fixo."))
    assert (told["whatsapp_phone"], told["invoice_link"]) == ("", LINK)
    assert told["invoice_problem"] == "WhatsApp não enviado: o telefone é fixo."


# --- refused by the city


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("CNPJ do tomador inválido ou não cadastrado.", "Corrija o CNPJ/CPF do cliente no Jestor."),
        ("O campo CEP do tomador é inválido", "Corrija o endereço do cliente no Jestor"),
        ("O código do serviço informado não está habilitado para o prestador.", "Peça à contabilidade que confira o c"),
        ("Alíquota do ISS divergente da cadastrada no município.", "Peça à contabilidade que confira a tributação"),
        ("Certificado digital expirado", "Renove no Omie o certificado digital"),
        ("Inscrição Municipal do prestador inválida", "Confira a inscrição municipal"),
        ("Serviço temporariamente indisponível", "A prefeitura estava fora do ar"),
        ("Erro interno 0x80", "Veja a mensagem da prefeitura na OS"),
    ],
)
def test_a_refusal_says_what_to_fix_and_never_to_bill_again(text, fix):
    messages = [CityMessage("E1", text), CityMessage("E0", "CNPJ do tomador inválido")]
    assert what_to_fix(messages).startswith(fix)
    assert what_to_fix(messages).endswith("Depois reenvie a NFS-e pela OS, no Omie. Não fature de novo.")
    assert refusal(messages) == f"E1: {text}"


COMPANY, CUSTOMER, FISCAL = "dados da empresa", "cliente no Jestor", "Peça à contabilidade"


@pytest.mark.parametrize(
    ("text", "says", "never"),
    [
        ("Código do município emissor da DPS fora do cadastro de convênio", "prefeitura", CUSTOMER),
        ("Código de município do endereço do prestador não existe na tabela do IBGE", COMPANY, CUSTOMER),
        ("CEP do endereço nacional do prestador não existe ou é de outro município", COMPANY, CUSTOMER),
        ("O município de incidência não aceita CPF de tomador na retenção do ISSQN", FISCAL, "CNPJ/CPF"),
        ("Endereço eletrônico do tomador inválido", "Corrija o e-mail do cliente", "CEP, rua"),
        ("CPF/CNPJ do prestador não autorizado para o tomador informado", "prefeitura", CUSTOMER),
        ("CEP do endereço nacional do tomador não existe ou é de outro município", "endereço do cliente", COMPANY),
        ("CNPJ do tomador informado na DPS é inválido", "Corrija o CNPJ/CPF do cliente", COMPANY),
        # others of the same kinds
        ("Correio eletrônico do emitente inválido", COMPANY, CUSTOMER),
        ("E-mail do prestador com formato inválido", COMPANY, CUSTOMER),
        ("Telefone do tomador inválido", "Corrija o telefone do cliente no Jestor", "CEP, rua"),
        ("O número de telefone do prestador deve ter de 6 a 20 dígitos", COMPANY, CUSTOMER),
        ("Razão social do prestador divergente da cadastrada", COMPANY, CUSTOMER),
        ("CNPJ do emitente da DPS não confere com o do certificado", "certificado", CUSTOMER),
        ("CNPJ do intermediário inválido", "intermediário", CUSTOMER),
        ("Endereço do intermediário do serviço incompleto", "intermediário", CUSTOMER),
        ("Inscrição municipal do tomador não encontrada", "cadastro dele no Omie", COMPANY),
        ("Inscrição municipal do prestador inválida", COMPANY, "cadastro dele"),
        ("Prestador: CEP não preenchido", COMPANY, CUSTOMER),
        ("Tomador: logradouro não preenchido. Prestador: ok", "endereço do cliente", COMPANY),
        ("Para o prestador informado, o CNPJ do tomador é inválido", "Corrija o CNPJ/CPF do cliente", COMPANY),
        ("ISS retido pelo tomador com CNPJ inválido para substituição tributária", FISCAL, "CNPJ/CPF"),
        ("O tomador do serviço não pode ser o próprio prestador", "a mesma", "CEP, rua"),
        ("Município de incidência do ISSQN inválido", FISCAL, CUSTOMER),
        ("Código do município do local da prestação não existe", "local da prestação", CUSTOMER),
        ("Prestador não habilitado a emitir NFS-e neste município", "prefeitura", CUSTOMER),
        ("Código do serviço não está habilitado para o prestador", "código do serviço", CUSTOMER),
        ("Discriminação do serviço excede 2000 caracteres", "descrição do contrato no Jestor", FISCAL),
        ("Arquivo em desacordo com o XML Schema", "caracteres", COMPANY),
        ("RPS já informado anteriormente", "numeração", CUSTOMER),
        ("<html><head><title>403 Forbidden</title></head></html>", "fora do ar", CUSTOMER),
        ("CEP não pertence à faixa válida para o estado RJ.", "endereço do cliente", COMPANY),
        ("Para emitir a NFS-e falta preencher o Número do Endereço", "endereço do cliente", COMPANY),
        ("Para emitir a NFS-e falta preencher o E-mail", "Corrija o e-mail do cliente", "CEP, rua"),
        # the party by its tag in the XML
        ("O elemento infDPS/prest/end/endNac/CEP é inválido", COMPANY, CUSTOMER),
        ("prest/IM inválido", COMPANY, CUSTOMER),
        ("toma/end/endNac/CEP inválido", "endereço do cliente", COMPANY),
        ("interm/CNPJ não informado", "intermediário", CUSTOMER),
        # the party that is called otherwise
        ("A empresa emissora possui débitos junto ao município", COMPANY, CUSTOMER),
        ("Empresa com débitos junto ao município", COMPANY, CUSTOMER),
        ("Contribuinte com inscrição baixada no município", COMPANY, CUSTOMER),
        ("O CPF/CNPJ do tomador não pode ser igual ao do prestador", "a mesma", "Corrija o CNPJ/CPF"),
        ("CNPJ do prestador igual ao CNPJ do tomador", "a mesma", COMPANY),
        # no party
        ("Inscrição municipal não informada", "de quem", CUSTOMER),
        ("Município não participa do sistema nacional", "Veja a mensagem da prefeitura", CUSTOMER),
        ("Falha na comunicação com o webservice da prefeitura", "fora do ar", CUSTOMER),
        ("Erro de conexão com o servidor", "fora do ar", CUSTOMER),
    ],
)
def test_the_advice_goes_to_the_party_that_the_message_names(text, says, never):
    advice = what_to_fix([CityMessage("", text)])
    assert says in advice, advice
    assert never not in advice, advice
    assert advice.endswith("Não fature de novo.")


def test_the_city_s_own_advice_comes_first_and_silence_is_said():
    assert what_to_fix([CityMessage("E1", "x", "Informe o CEP.")]).startswith("Informe o CEP. Depois")
    assert refusal([]) == "A prefeitura recusou a nota sem dizer o motivo."
    assert what_to_fix([]).startswith("Veja a mensagem")


# --- what the customer reads


def text(invoice, amount=120050, to=TO):
    return record(invoice, DECEMBER, amount, to)["whatsapp_text"]


def test_the_message_of_an_ordinary_month():
    assert text(issued()) == (
        "Olá, Padaria São João Ltda! Sua fatura de dezembro de 2026 da Acme Tecnologia já está disponível.\n"
        "\n"
        "Valor: R$ 1.200,50\n"
        "Vencimento: 10/12/2026\n"
        f"Nota fiscal nº 44 e boleto: {LINK}\n"
        "Ao abrir a página, informe os cinco primeiros dígitos do seu CNPJ ou CPF.\n"
        "\n"
        "Linha digitável:\n"
        f"{LINE}\n"
        "\n"
        "Qualquer dúvida, é só responder a esta mensagem. Agradecemos a parceria!"
    )


def test_the_message_with_taxes_withheld_tells_what_is_to_be_paid():
    assert "Valor: R$ 1.200,50\nValor a pagar: R$ 1.140,47 (com as retenções de impostos)\n" in text(
        issued(replace(SLIP, amount=114047))
    )


def test_the_message_names_what_came_on_top():
    written = record(issued(), DECEMBER, 120050, TO, {"encargos": 2205, "proporcional": 1000})["whatsapp_text"]
    assert (
        "Valor: R$ 1.200,50\nInclui encargos por atraso: R$ 22,05\nInclui diferença proporcional: R$ 10,00\nVenc"
        in written
    )


@pytest.mark.parametrize(
    ("name", "document", "shown"),
    [
        ("Padaria São João Ltda", "12345678000195", "Padaria São João Ltda"),
        ("Padaria Sertão Ltda - em recuperação judicial", "12345678000195", "Padaria Sertão Ltda"),
        ("João de Souza Silva", "12345678909", "João"),
        ("Dr. João Silva", "12345678909", "João"),
        ("SRA ANA LIMA", "12345678909", "Ana"),
        ("Dra.", "12345678909", "cliente"),
        ("MARIA  DA SILVA", "12345678909", "Maria"),
        ("Bem-te-vi & Cia", "", "Bem-te-vi & Cia"),
        ("", "12345678909", "cliente"),
    ],
)
def test_a_customer_is_greeted_as_people_do(name, document, shown):
    assert greeted(name, document) == shown


def test_the_message_in_instalments_names_each():
    first, second = SLIP, replace(SLIP, nCodTitulo=8, due=date(2027, 1, 10), barcode="")
    assert (
        "Valor: R$ 2.401,00\n"
        f"Nota fiscal nº 44 e boleto: {LINK}\n"
        "Ao abrir a página, informe os cinco primeiros dígitos do seu CNPJ ou CPF.\n"
        "\n"
        "Parcela 1 de 2: R$ 1.200,50, vencimento 10/12/2026\n"
        f"Linha digitável:\n{LINE}\n"
        "\n"
        "Parcela 2 de 2: R$ 1.200,50, vencimento 10/01/2027\n"
        "\n"
    ) in text(issued(second, first), amount=240100)


def test_the_message_asks_nothing_of_who_has_paid():
    written = text(issued(replace(SLIP, paid=True)))
    assert "Já identificamos o pagamento: não há nada a pagar.\n" in written
    assert "Boleto" not in written
    assert "digitável" not in written


def test_the_message_without_a_boleto_speaks_of_none():
    written = text(issued(replace(SLIP, has_boleto=False, barcode=""), boleto_expected=False))
    assert "oleto" not in written
    assert "\n\n\n" not in written


def test_the_message_of_a_substituted_note_says_which_one_holds():
    assert text(issued(told_nCodNF=8)).startswith(
        "Olá, Padaria São João Ltda! A nota fiscal da sua fatura de dezembro de 2026 da Acme Tecnologia foi "
        "substituída. Por favor, desconsidere a anterior: vale esta.\n\n"
    )


@pytest.mark.parametrize(("document", "word"), [("CNPJ", "CNPJ"), ("CPF", "CPF")])
def test_the_message_says_which_digits_the_page_asks_for(document, word):
    written = text(issued(), to=replace(TO, document=document))
    assert f"{LINK}\nAo abrir a página, informe os cinco primeiros dígitos do seu {word}.\n" in written


def test_the_page_asks_for_what_the_customer_has():
    assert page_asks_for("12345678000195") == "CNPJ"
    assert page_asks_for("12345678909") == "CPF"
    assert page_asks_for("") == "CNPJ ou CPF"


def test_a_barcode_that_does_not_agree_is_no_line_and_the_page_has_the_boleto():
    told = record(issued(replace(SLIP, barcode=BARCODE[:-1] + "1")), DECEMBER, 120050, TO)
    assert (told["boleto_barcode"], told["boleto_link"]) == ("", LINK)
    assert "digitável" not in told["whatsapp_text"]


@pytest.mark.parametrize("link", ["https://files.s3.amazonaws.com/1.pdf", f"{LINK}?Expires=1", "r/1a", " "])
def test_an_invoice_whose_page_ends_waits_for_one_that_lasts(link):
    invoice = assess(ISSUED, (SLIP,), link=link)
    assert (invoice.state, invoice.awaits, invoice.link) == (InvoiceState.WAITING, "link", "")

"""What may be given to a customer: addresses that last, and lines whose check digits agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.boleto import typeable_line
from billing.domain.links import expires, lasting, without_ending_links

LASTING = (
    "https://click.omie.com/r/1a",
    "https://click.omie.com/r/AbC-_9?x=1",
    "https://nfe.prefeitura.sp.gov.br/contribuinte/notaprint.aspx?ccm=1&nf=44&cod=X",
    "http://expires.example/signature/exp",
)
ENDING = (
    "https://x.example/1.pdf?Expires=1796115600",
    "https://x.example/1.pdf?EXPIRES=1796115600",
    "https://x.example/1.pdf?a=1&amp;Expires=1",
    "https://x.example/1.pdf?a=1;expires=1",
    "https://x.example/1.pdf#Expires=1",
    "https://x.example/1.pdf?X-Amz-Date=20261201T000000Z&X-Amz-Expires=900&X-Amz-Signature=f",
    "https://x.example/1.pdf?x-amz-security-token=f",
    "https://x.example/1.pdf?Signature=f&Key-Pair-Id=K",
    "https://x.example/1.pdf?X-Goog-Expires=900",
    "https://x.example/1.pdf?sv=2022&se=2026-12-01&sig=f",
    "https://x.example/1.pdf?expire=1796115600",
    "https://x.example/1.pdf?expires_at=1796115600",
    "https://x.example/1.pdf?expiresIn=900",
    "https://x.example/1.pdf?expira=2026-12-02",
    "https://x.example/1.pdf?valid_until=1796115600",
    "https://x.example/1.pdf?validade=2026-12-02",
    "https://x.example/1.pdf?ttl=900",
    "https://x.example/1.pdf?X-Oss-Expires=900",
    "https://omie.s3.amazonaws.com/1.pdf",
    "https://omie.s3.sa-east-1.amazonaws.com:443/1.pdf",
    "https://s3.amazonaws.com/omie/1.pdf",
    "https://d111.cloudfront.net/1.pdf",
    "https://storage.googleapis.com/omie/1.pdf",
    "https://omie.blob.core.windows.net/1.pdf",
    "https://go.example/?to=https%3A%2F%2Fx.example%2F1.pdf%3FExpires%3D1",
    "https://go.example/?to=https%253A%252F%252Fs3.amazonaws.com%252F1.pdf",
)


@pytest.mark.parametrize("link", LASTING)
def test_a_link_that_names_no_end_lasts(link):
    assert not expires(link)
    assert lasting(f" {link} ") == link
    assert without_ending_links(f"Veja {link}\nhoje") == f"Veja {link}\nhoje"


@pytest.mark.parametrize("link", ENDING)
def test_a_signed_link_ends_however_it_is_written(link):
    assert expires(link)
    assert lasting(link) == ""
    assert without_ending_links(f"Veja {link}\nhoje") == "Veja \nhoje"


@pytest.mark.parametrize("text", ["", "sem endereço", "ftp://x/1", "https://a b", "javascript:alert(1)"])
def test_what_is_no_address_is_no_link(text):
    assert lasting(text) == ""


# published examples: Banco do Brasil, Itaú
BB = ("00193373700000001000500940144816060680935031", "00190.50095 40144.816069 06809.350314 3 37370000000100")
ITAU = ("34196166700000123451101234567880057123457000", "34191.10121 34567.880058 71234.570001 6 16670000012345")


@pytest.mark.parametrize(("barcode", "line"), [BB, ITAU])
def test_a_barcode_becomes_the_line_that_the_bank_prints_and_a_line_stays(barcode, line):
    plain = "".join(filter(str.isdigit, line))
    assert len(plain) == 47
    for written in (barcode, f" {barcode} ", line, plain, line.replace(" ", "\u00a0")):
        assert typeable_line(written) == line


@pytest.mark.parametrize(
    "code",
    [
        "", " ", "123", "x" * 44, "1" * 45, "1" * 48, BB[0] + "0", BB[0][:-1], "\u0661" * 44,
        "84670000001435900240200240500024384221010811", "846700000017435900240209024050002435842210108119",
    ],
)  # fmt: skip
def test_what_is_no_boleto_has_no_line(code):
    assert typeable_line(code) == ""


@given(st.sampled_from([BB, ITAU]), st.booleans(), st.integers(0, 46), st.integers(1, 9))
def test_one_digit_wrong_is_never_a_line(example, as_line, place, more):
    code = "".join(filter(str.isdigit, example[1])) if as_line else example[0]
    place %= len(code)
    wrong = code[:place] + str((int(code[place]) + more) % 10) + code[place + 1 :]
    assert typeable_line(wrong) == ""

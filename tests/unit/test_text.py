"""One form for each kind of text that is compared, kept or sent."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.text import (
    UnreadableText,
    addresses,
    can_be_written,
    decoded,
    fold,
    of,
    prose,
    shown,
    unescaped,
    without_entities,
    writable,
)


@pytest.mark.parametrize(
    "label",
    [
        "Plataforma pro",
        "PLATAFORMA PRO",
        "Plataforma\u00a0Pro",
        "Plataforma  Pro",
        " Plataforma Pro\u200b",
        "Plataforma\tPro",
    ],
)
def test_a_label_is_the_same_however_it_was_typed(label):
    assert fold(label) == fold("Plataforma Pro")


def test_a_label_with_an_accent_typed_on_a_mac_is_the_same():
    assert fold("Pro\u0301xima fatura") == fold("Próxima fatura")
    assert fold("P&amp;D") == fold("p&d")
    assert fold("Plataforma Pro") != fold("Plataforma Pró")


@pytest.mark.parametrize(
    "text", ["P&D mensal", "P&amp;D mensal", "P&amp;amp;D  mensal", "P&#38;D\nmensal", "P&#x26;D mensal "]
)
def test_a_description_is_the_same_whoever_escaped_it(text):
    assert prose(text) == "P&D mensal"


@pytest.mark.parametrize("text", ["Marketing C&centro", "M&micro e R&D", "A&B;C", "Loja &"])
def test_an_ampersand_without_an_entity_stays(text):
    assert without_entities(text) == text
    assert unescaped(text) == text


def test_an_entity_is_resolved_once_where_a_person_s_text_goes_back():
    assert unescaped("P&amp;amp;D") == "P&amp;D"


def test_addresses_are_a_set():
    assert addresses("B@x.br; a@x.br,\u00a0b@X.br") == ("a@x.br", "b@x.br")


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "\udcffab", "a\uffffb", "ab\x1b"])
def test_what_xml_and_utf8_cannot_carry_is_seen_and_replaced(text):
    assert not can_be_written(text)
    writable(text).encode()
    assert can_be_written(writable(text))


@given(st.text())
def test_whatever_is_made_writable_is(text):
    assert can_be_written(writable(text))
    assert without_entities(writable(text)) == without_entities(without_entities(writable(text)))
    shown(text).encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("2.0"), "2"),
        (Decimal("2.50"), "2.50"),
        (Decimal("1E+3"), "1000"),
        (True, "True"),
        (7, "7"),
        pytest.param(10**5000, "?", id="huge"),
    ],
)
def test_a_json_value_as_text(value, text):
    assert of(value) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_files_of_windows_are_read(encoding):
    text = 'name = "Praça"\r\n'
    assert decoded(text.encode(encoding)) == text


def test_big_endian_utf16_is_read():
    assert decoded(b"\xfe\xff" + "açúcar".encode("utf-16-be")) == "açúcar"


def test_what_cannot_be_read_names_the_place():
    with pytest.raises(UnreadableText, match=r"linha 2, byte 0xE7.*UTF-8"):
        decoded("a\r\npraça".encode("cp1252"))
    with pytest.raises(UnreadableText, match="UTF-16 sem marca"):
        decoded("abc".encode("utf-16-le"))

"""What a person reads on a terminal."""

import pytest

from ops.desk import wrapped

PROOF = "  Juros: R$ 959,70 × 87 dias × 1% ÷ 30 = R$ 27,83; veja billing-ops late-fee --due 2026-08-24"


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_a_long_line_is_broken_between_words_under_its_indent(width):
    lines = wrapped(PROOF, width).splitlines()
    assert len(lines) > 1
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("  Juros")
    assert not any(line.endswith("R$") for line in lines)
    assert all(line.startswith("    ") and line[4] != " " for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == PROOF.strip()


def test_what_fits_and_what_goes_into_a_pipe_stays_one_line():
    assert wrapped(PROOF, len(PROOF)) == wrapped(PROOF, None) == PROOF


def test_a_word_longer_than_the_screen_is_not_cut():
    assert "a" * 50 in wrapped(f"  veja {'a' * 50} agora", 20)

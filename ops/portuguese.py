"""Typer in Portuguese: the words of its help, and one line for each way of typing a command wrong."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
import traceback
from typing import TYPE_CHECKING, Any, Final

import typer
from typer import rich_utils
from typer.core import TyperCommand, TyperGroup

from ops.errors import exit_code, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

rich_utils.ARGUMENTS_PANEL_TITLE = "Argumentos"
rich_utils.OPTIONS_PANEL_TITLE = "Opções"
rich_utils.COMMANDS_PANEL_TITLE = "Comandos"
rich_utils.REQUIRED_LONG_STRING = "[obrigatório]"
rich_utils.DEFAULT_STRING = "[padrão: {}]"
rich_utils.ENVVAR_STRING = "[variável: {}]"

_SAID: Final = (
    (r"Missing option '(.+?)'(?: / '.+')?\.?.*", "Falta a opção {0}."),
    (r"Missing argument '(.+?)'\.?.*", "Falta o argumento {0}."),
    (r"Missing command\.?", "Falta o comando."),
    (r"No such option: (\S+)(?: \(Possible options: (.+)\))?.*", "Opção desconhecida: {0}."),
    (r"No such command '(.+?)'\. Did you mean (.+)\?", "Comando desconhecido: {0}. Seria {1}?"),
    (r"No such command '(.+?)'\.?", "Comando desconhecido: {0}."),
    (r"Option '?(\S+?)'? requires an argument\.?", "Falta o valor da opção {0}."),
    (r"Got unexpected extra argument(?:s|\(s\))? \((.+)\)\.?", "Sobrou na linha: {0}."),
    (
        r"Invalid value for '?(.+?)'?: (?:Value error, )?'?(.*?)'? is not one of (.+?)\.?",
        "Valor inválido em {0}: {1}. Use um destes: {2}.",
    ),
    (r"Invalid value for '?(.+?)'?: (?:Value error, )?(.*)", "Valor inválido em {0}: {1}"),
)
"""What Typer says, and how we say it."""


def translate(message: str) -> str:
    """Typer's message on a mistyped command as one Portuguese line; an unknown one as it is."""
    line = " ".join(message.split())
    for pattern, said in _SAID:
        match = re.fullmatch(pattern, line)
        if match:
            words = [(group or "").replace("'", "") for group in match.groups()]
            return said.format(*words)
    return line


class _Words:
    """What a command and a group of commands share."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""  # instead of <bool>
                param.show_default = False
            if "--help" in param.opts:
                param.help = "Mostra esta ajuda."
        return params


class Command(_Words, TyperCommand):
    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), prefix="Uso: ")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("[OPTIONS]", "[OPÇÕES]") for piece in super().collect_usage_pieces(ctx)]


class Group(_Words, TyperGroup):
    """The top of a command line: whatever goes wrong below ends as one line on stderr and an exit code."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, "[OPÇÕES] COMANDO [ARGUMENTOS]...", prefix="Uso: ")

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        words = globals_first(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        extra["standalone_mode"] = False
        try:
            code = super().main(words, *rest, **extra)
        except typer.Abort:
            code = _fail("Cancelado; nada foi feito.", 1)
        except typer.TyperException as error:
            code = _mistyped(error)
        except Exception as error:  # noqa: BLE001 - the last place: a line here, or the traceback with --debug
            if debug:
                traceback.print_exc()
                sys.exit(1)
            code = _fail(explain(error) or _unexpected(error), exit_code(error))
        sys.exit(code if isinstance(code, int) else 0)


class App(typer.Typer):
    """A Typer whose commands speak Portuguese."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        settings.setdefault("cls", Command)
        return super().command(name, **settings)


def globals_first(args: Sequence[str]) -> list[str]:
    """`--stack NAME` and `--debug` may be typed anywhere; the parser wants them before the command."""
    first: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--debug" or word.startswith("--stack="):
            first.append(word)
        elif word == "--stack":
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            others.append(word)
    return first + others


def _mistyped(error: typer.TyperException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was printed while the error was made
        return 0
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "billing-ops"
    return _fail(f"{translate(error.format_message())} Veja {command} --help.", error.exit_code)


def _unexpected(error: Exception) -> str:
    what = type(error).__name__
    return f"Erro inesperado ({what}). Repita com --debug e mande o resultado a quem mantém o sistema."


def _fail(line: str, code: int) -> int:
    """Says it on stderr, at a terminal broken between words: people copy commands from it."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for part in line.splitlines() or [""]:
        kept = [part] if width is None else textwrap.wrap(part, width, break_long_words=False, break_on_hyphens=False)
        print("\n".join(kept or [""]), file=sys.stderr)
    return code

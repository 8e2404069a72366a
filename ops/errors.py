"""Every error an operator can cause or meet, as ONE clear Portuguese line: what, where, how to fix it.

```
OperatorError            something went wrong while doing it                exit 1
└── InputError             what was typed or written cannot be done           exit 2
```
`explain` gives the line of any other error that is expected to happen one day: AWS's, Jestor's, Omie's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from botocore import exceptions as boto

from billing.domain.month import MonthError
from billing.jestor.client import JestorError
from billing.omie.replies import OUR_STOPS, OmieError
from billing.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable


class OperatorError(Exception):
    """Its text is the line; nothing is added to it."""

    exit_code = 1


class InputError(OperatorError):
    exit_code = 2


_SIGN_IN: Final = "Entre na conta da AWS (`aws sso login` ou AWS_PROFILE) e repita."
_LATER: Final = "Espere um minuto e repita."

_BY_CODE: Final[dict[str, str]] = {
    "ExpiredToken": f"AWS: a sua sessão expirou. {_SIGN_IN}",
    "ExpiredTokenException": f"AWS: a sua sessão expirou. {_SIGN_IN}",
    "RequestExpired": "AWS: o relógio deste computador está errado. Acerte a hora e repita.",
    "InvalidClientTokenId": f"AWS: as credenciais não são válidas. {_SIGN_IN}",
    "UnrecognizedClientException": f"AWS: as credenciais não são válidas. {_SIGN_IN}",
    "InvalidAccessKeyId": f"AWS: as credenciais não são válidas. {_SIGN_IN}",
    "SignatureDoesNotMatch": f"AWS: a chave secreta não corresponde à chave de acesso. {_SIGN_IN}",
    "Throttling": f"AWS: chamadas demais ao mesmo tempo. {_LATER}",
    "ThrottlingException": f"AWS: chamadas demais ao mesmo tempo. {_LATER}",
    "ResourceNotFoundException": "AWS: {operation} não encontrou o recurso da pilha. "
    "Confira --stack e a região; se a pilha foi recriada, repita.",
    "StateMachineDoesNotExist": "AWS: a máquina de estados da pilha não existe. "
    "Publique a pilha de novo (make deploy).",
    "NoSuchBucket": "AWS: o bucket de dados da pilha não existe. Publique a pilha de novo (make deploy).",
}

_DENIED: Final = frozenset({
    "403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException",
    "UnauthorizedOperation",
})  # fmt: skip

_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        boto.ProfileNotFound,
        "AWS: o perfil de AWS_PROFILE não existe neste computador. Veja `aws configure list-profiles`.",
    ),
    (boto.NoCredentialsError, f"AWS: não encontrei credenciais. {_SIGN_IN}"),
    (boto.PartialCredentialsError, f"AWS: as credenciais estão incompletas. {_SIGN_IN}"),
    (boto.TokenRetrievalError, f"AWS: a sua sessão expirou. {_SIGN_IN}"),
    (boto.SSOError, f"AWS: a sua sessão expirou. {_SIGN_IN}"),
    (boto.CredentialRetrievalError, f"AWS: não consegui obter as credenciais. {_SIGN_IN}"),
    (
        boto.NoRegionError,
        "AWS: falta a região. Defina AWS_REGION (AWS_REGION=sa-east-1) ou suba a pilha local com make up, e repita.",
    ),
)


def explain(error: BaseException) -> str | None:
    """The error's line(s), or None for an error nobody expected. Never contains a credential."""
    if isinstance(error, OperatorError | JestorError):
        return str(error)
    for known, line in _BY_CLASS:
        if isinstance(error, known):
            return line
    for kind, explained in _EXPLAINED:
        if isinstance(error, kind):
            return explained(error)
    return None


def exit_code(error: BaseException) -> int:
    if isinstance(error, OperatorError):
        return error.exit_code
    return InputError.exit_code if isinstance(error, SettingsError | MonthError) else OperatorError.exit_code


def _client_error(error: boto.ClientError) -> str:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
    if code in _DENIED:
        asked = re.search(r"perform: (\S+)", message)
        action = asked[1] if asked else error.operation_name
        return f"AWS: o seu usuário não tem permissão para {action}. Peça-a a quem administra a conta."
    line = _BY_CODE.get(code)
    if line:
        return line.format(operation=error.operation_name)
    return f"AWS recusou {error.operation_name} ({code}): {message[:200]}"


def _connection(error: Exception) -> str:
    where = re.search(r'"?(https?://[^"\s/]+)', str(error))
    at = f" em {where[1]}" if where else ""
    return f"AWS: sem resposta{at}. Confira a rede e AWS_ENDPOINT_URL (pilha local: make up) e repita."


def _omie(error: OmieError) -> str:
    fault = f" ({error.faultcode})" if error.faultcode else ""
    text = " ".join(error.text.split())[:200]
    if error.rule in OUR_STOPS:
        minutes = -(-int(error.retry_after or 0) // 60)
        return f"Omie: {error.method} não foi consultado agora: {text}. Repita daqui a {minutes} min."
    return f"Omie: {error.method} não deu certo{fault}: {text}"


def _month(error: MonthError) -> str:
    return f"Mês inválido ({error}). Escreva ano e mês, por exemplo --month 2026-12."


def _file(error: OSError) -> str:
    reasons = {
        FileNotFoundError: "o arquivo não existe; confira o caminho",
        IsADirectoryError: "é uma pasta; indique o arquivo",
        PermissionError: "sem permissão; confira o dono do arquivo",
    }
    return f"{error.filename}: {reasons.get(type(error), error.strerror or type(error).__name__)}."


_EXPLAINED: Final[tuple[tuple[type[Exception], Callable[..., str]], ...]] = (
    (boto.ClientError, _client_error),
    (boto.HTTPClientError, _connection),
    (boto.ConnectionError, _connection),
    (OmieError, _omie),
    (SettingsError, lambda error: "\n".join(f"Configuração: {problem}" for problem in error.problems)),
    (MonthError, _month),
    (OSError, _file),
)

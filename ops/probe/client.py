"""The methods of Omie that only a probe calls, and a way to call any with a parameter of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from billing.omie.client import PATHS, OmieClient

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]


class ProbeClient(OmieClient):
    """One attempt a call: the probe itself decides what is asked again, and when. Raises as OmieClient does."""

    paths: ClassVar[Mapping[str, str]] = {
        **PATHS,
        "IncluirCliente": "geral/clientes/",
        "ExcluirCliente": "geral/clientes/",
        "IncluirOS": "servicos/os/",
        "ExcluirOS": "servicos/os/",
        "CancelarOS": "servicos/osp/",
        "IncluirContaReceber": "financas/contareceber/",
        "ConsultarContaReceber": "financas/contareceber/",
        "LancarRecebimento": "financas/contareceber/",
        "CancelarRecebimento": "financas/contareceber/",
        "ExcluirContaReceber": "financas/contareceber/",
    }

    def read(self, method: str, param: Json) -> Json:
        """The reply of a method that changes nothing."""
        return self._read(method, param)

    def write(self, method: str, param: Json) -> Json:
        """The reply of a method that changes something; sent once."""
        return self._write(method, param)


class WithoutSlash(ProbeClient):
    """Calls the same addresses without the slash at their end."""

    paths: ClassVar[Mapping[str, str]] = {method: path.rstrip("/") for method, path in ProbeClient.paths.items()}

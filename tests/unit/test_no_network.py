"""No test reaches beyond this machine: a simulator on loopback is all there is."""

import socket

import httpx
import pytest
from pytest_socket import SocketConnectBlockedError


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
@pytest.mark.parametrize("address", ["192.0.2.1", "198.51.100.7"])  # reserved for documentation: nobody's
def test_a_connection_to_another_machine_is_refused_before_it_is_tried(address):
    with pytest.raises(SocketConnectBlockedError), socket.socket() as caller:
        caller.connect((address, 443))


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_an_http_client_is_refused_too():
    with pytest.raises(SocketConnectBlockedError):
        httpx.get("http://192.0.2.1/")

"""One deployed stack for all end-to-end tests: the emulator with IAM enforced, both simulators, the real template."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops import local
from ops.stack import Stack, connect, find_place


@dataclass
class Deployed:
    state: dict[str, Any]
    stack: Stack
    settings: str

    def ops(self, *words: str, expect: int | None = 0, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Runs `billing-ops` as an operator would, and checks its exit code."""
        command = [str(Path(sys.executable).parent / "billing-ops"), *words]
        done = subprocess.run(
            command, cwd=local.ROOT, capture_output=True, text=True, input=typed, timeout=500, check=False
        )
        if expect is not None:
            assert done.returncode == expect, done.stdout + done.stderr
        return done

    def json(self, *words: str, expect: int | None = 0) -> dict[str, Any]:
        return json.loads(self.ops(*words, "--json", expect=expect).stdout)

    def book(self) -> dict[str, Any]:
        return httpx.get(self.state["simulators"]["omie"] + "/_sim/book", timeout=60).json()

    def control(self, who: str, what: str, body: Any) -> None:
        httpx.post(f"{self.state['simulators'][who]}/_sim/{what}", json=body, timeout=60).raise_for_status()

    def await_that(self, condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.2)  # between two looks at a condition, never instead of one
        pytest.fail(f"waited {seconds} s for: {what}")


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if local.STATE.exists():
        pytest.fail("a local stack is up; the end-to-end tests bring their own. End it first: make down")
    # Here the same month is planned again and again: neither side insists on a minute between two identical reads.
    demo = (local.ROOT / "config" / "demo.toml").read_text()
    settings = demo.replace("in_doubt_wait_seconds", "same_question_seconds = 0\nin_doubt_wait_seconds")
    file = tmp_path_factory.mktemp("settings") / "settings.toml"
    file.write_text(settings)
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "ops.local"]
    up = [*command, "up", "--contracts", "60", "--latency-ms", "20"]
    started = subprocess.run(
        up, cwd=local.ROOT, env=env | {"SETTINGS": str(file)}, capture_output=True, text=True, timeout=300, check=False
    )
    if started.returncode:
        pytest.fail(started.stdout + started.stderr)
    try:
        ready = Deployed(json.loads(local.STATE.read_text()), connect(find_place({}, None)), settings)
        ready.control("omie", "switches", {"redundant_on": 0})
        yield ready
    finally:
        subprocess.run([*command, "down"], cwd=local.ROOT, timeout=60, check=True)

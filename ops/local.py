"""The whole stack on this computer: the emulator, both simulators, and the same template deployed to them.

    python -m ops.local up      starts everything, deploys, and leaves it running   (make up)
    python -m ops.local down    ends exactly the processes that `up` started        (make down)

`OMIE_BASE_URL` and `JESTOR_BASE_URL` point it at other servers than our simulators, which then send no webhooks here
until they are told to: `up` says how. `SETTINGS` names the settings file
(default config/demo.toml) and `SECRETS` a JSON file with their keys ({"jestor": {...}, "omie": {"acme": {...}}}, and
"webhooks" if there are any). `PARAMETERS`: more of the template's, as in `make deploy`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import httpx
import typer
from botocore.config import Config

from billing.domain.month import SAO_PAULO
from billing.settings import load_settings
from billing.store.webhooks import webhooks_name
from ops.files import read_text
from simulators.omie.profiles import PROFILES
from simulators.world import JESTOR_TOKEN, OMIE_KEYS

ROOT: Final = Path(__file__).resolve().parent.parent
LOCAL: Final = ROOT / ".local"
STATE: Final = LOCAL / "stack.json"
TOOLS: Final = ROOT / ".tools"
STACK: Final = "billing-ops"
READY_WITHIN: Final = 60.0
ACTIVE_IN_OMIE: Final = "10"
EMULATED: Final = (
    "cloudformation", "cloudwatch", "dynamodb", "events", "iam", "kms", "lambda", "logs", "s3", "scheduler",
    "secretsmanager", "sns", "sqs", "ssm", "states", "sts", "apigateway", "xray",
)  # fmt: skip
KEYS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "sa-east-1"}
"""The emulator's root keys; they open nothing else."""
LIVE_SETTINGS: Final = {
    "\nlist_lag_seconds = 10\n": "\nlist_lag_seconds = 120\n",
    "\nread_lag_seconds = 10\n": "\nread_lag_seconds = 60\n",
    "\nin_doubt_wait_seconds = 191\n": "\nin_doubt_wait_seconds = 301\n",
}
"""Lines of config/demo.toml, and what they are for the profile `live`."""
JESTOR_WEBHOOK_SECRET: Final = "demo-jestor-webhook-secret"  # noqa: S105 - obviously fake


class LocalError(Exception):
    """Something the local stack needs is not there or did not start: one line, and where the log is."""


@dataclass
class Processes:
    """What `up` has started so far, so that a failure in the middle leaves nothing behind."""

    pids: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, command: list[str], env: Mapping[str, str]) -> Path:
        log = LOCAL / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pids[name] = process.pid
        return log

    def end(self) -> None:
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
        for pid in self.pids.values():
            _wait_gone(pid)


def up(
    contracts: int = 500,
    seed: int = 7,
    latency_ms: float | None = None,
    *,
    profile: str = "demo",
    webhooks: bool = True,
) -> dict[str, Any]:
    """Starts and deploys; answers (and writes to .local/stack.json) the environment and addresses of everything.

    `profile`: of the simulated Omie (`simulators.omie.profiles`); `latency_ms` instead of the profile's. `webhooks`:
    whether both simulators tell the deployed API of every change, as the real ones would.
    """
    if profile not in PROFILES:
        raise LocalError(f"No profile {profile!r} of the Omie simulator; there are: {', '.join(PROFILES)}")
    if STATE.exists():
        raise LocalError("A local stack is up already (.local/stack.json). End it first: make down")
    _need_tools()
    LOCAL.mkdir(exist_ok=True)
    processes = Processes()
    try:
        state = _up(processes, contracts, seed, latency_ms, profile)
        if webhooks:
            connect_webhooks(state)
    except BaseException:
        processes.end()
        raise
    STATE.write_text(json.dumps(state, indent=1))
    return state


def add_late_titles(state: Mapping[str, Any], count: int) -> None:
    """So many active contracts of the simulated Omie owe the title of a past month, four days to three months late."""
    omie = state["simulators"]["omie"]
    companies = httpx.get(f"{omie}/_sim/contracts", timeout=10).raise_for_status().json()
    active = [
        (int(number), contract["amount"])
        for contracts in companies.values()
        for number, contract in contracts.items()
        if contract["cCodSit"] == ACTIVE_IN_OMIE and contract["amount"]
    ]
    today = datetime.now(SAO_PAULO).date()
    wish = [
        {"nCodCtr": number, "due": str(today - timedelta(days=4 + 29 * place % 87)), "amount": amount}
        for place, (number, amount) in enumerate(active[:: max(1, len(active) // max(1, count))][:count])
    ]
    httpx.post(f"{omie}/_sim/titles", json=wish, timeout=10).raise_for_status()


def down() -> bool:
    """Ends what `up` started, by process id. False when nothing was up."""
    if not STATE.exists():
        return False
    Processes(json.loads(STATE.read_text())["pids"]).end()
    STATE.unlink()
    shutil.rmtree(LOCAL / "emulator", ignore_errors=True)
    return True


def _up(processes: Processes, contracts: int, seed: int, latency_ms: float | None, profile: str) -> dict[str, Any]:
    world = ["--contracts", str(contracts), "--seed", str(seed), "--port", "0"]
    addresses = {"omie": os.environ.get("OMIE_BASE_URL", ""), "jestor": os.environ.get("JESTOR_BASE_URL", "")}
    logs = {}
    if not addresses["omie"]:
        command = [sys.executable, "-m", "simulators.omie", *world, "--profile", profile]
        command += [] if latency_ms is None else ["--latency-ms", str(latency_ms)]
        logs["omie"] = processes.start("omie", command, {})
    if not addresses["jestor"]:
        logs["jestor"] = processes.start("jestor", [sys.executable, "-m", "simulators.jestor", *world], {})
    endpoint = _start_emulator(processes)
    env = {**KEYS, "AWS_ENDPOINT_URL": endpoint}
    build()
    for name, log in logs.items():
        addresses[name] = _address_in(log, processes.pids[name])
    simulator = {name: addresses[name] for name in logs}
    if "omie" in logs:
        addresses["omie"] += "/api/v1/"
    _await_emulator(endpoint)
    _deploy(env, addresses)
    outputs = _outputs(env)
    addresses["webhooks"] = f"{endpoint}/_aws/execute-api/{outputs['WebhooksApiId']}/v1/webhooks"
    state = {
        "stack": STACK,
        "env": env,
        "pids": processes.pids,
        "addresses": addresses,
        "simulators": simulator,
        "outputs": outputs,
    }
    _put_settings_and_secrets(state, profile)
    return state


# --- the emulator and the template -----------------------------------------------------------------------------------


def _start_emulator(processes: Processes) -> str:
    port = _free_port()
    home = LOCAL / "emulator"
    home.mkdir(exist_ok=True)
    processes.start(
        "emulator",
        [str(TOOLS / "emulator" / "bin" / "python"), "-m", "ministack"],
        {
            **KEYS,
            "AUTH": "true",  # IAM policies are enforced: a missing permission fails here, not in production
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": KEYS["AWS_DEFAULT_REGION"],
            "STATE_DIR": str(home / "state"),
            "S3_DATA_DIR": str(home / "s3"),
            "TMPDIR": str(home),
            "LAMBDA_EXECUTOR": "local",
            "SERVICES": ",".join(EMULATED),
            "LOG_LEVEL": os.environ.get("EMULATOR_LOG_LEVEL", "WARNING"),
        },
    )
    return f"http://127.0.0.1:{port}"


def build() -> None:
    """`sam build` into .aws-sam: the layer by its makefile, with this interpreter's version."""
    command = [str(TOOLS / "sam" / "bin" / "sam"), "build", "--parameter-overrides", _runtime()]
    _run("sam build", command, {"PYTHON": sys.executable, "UV": str(TOOLS / "uv" / "bin" / "uv")})


def _deploy(env: Mapping[str, str], addresses: Mapping[str, str]) -> None:
    overrides = [_runtime(), f"OmieBaseUrl={addresses['omie']}", f"JestorBaseUrl={addresses['jestor']}", "Alarms=false"]
    overrides += os.environ.get("PARAMETERS", "").split()
    command = [
        str(TOOLS / "sam" / "bin" / "sam"),
        "deploy",
        *("--stack-name", STACK),
        *("--region", env["AWS_DEFAULT_REGION"]),
        "--no-confirm-changeset",
        "--no-progressbar",
        "--parameter-overrides",
        *overrides,
    ]
    _run("sam deploy", command, env)


def _runtime() -> str:
    return f"PythonRuntime=python{sys.version_info.major}.{sys.version_info.minor}"


def _run(name: str, command: list[str], env: Mapping[str, str]) -> None:
    log = LOCAL / f"{name.replace(' ', '-')}.log"
    path = os.pathsep.join([str(Path(sys.executable).parent), str(TOOLS / "uv" / "bin"), os.environ.get("PATH", "")])
    with log.open("wb") as output:
        answer = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=ROOT,
            env={**os.environ, **env, "PATH": path, "SAM_CLI_TELEMETRY": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    if answer.returncode:
        raise LocalError(f"{name} failed; the end of {log.relative_to(ROOT)}:\n{_tail(log)}")


def _outputs(env: Mapping[str, str]) -> dict[str, str]:
    stack = _client(env, "cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def demo_settings(profile: str = "demo") -> str:
    """config/demo.toml; for an Omie that lags as live accounts do, with the settings' defaults for its lags."""
    text = read_text(ROOT / "config" / "demo.toml")
    if profile == "live":
        for demo, live in LIVE_SETTINGS.items():
            text = text.replace(demo, live)
    return text


def _put_settings_and_secrets(state: Mapping[str, Any], profile: str) -> None:
    outputs, env = state["outputs"], state["env"]
    text = read_text(Path(os.environ["SETTINGS"])) if "SETTINGS" in os.environ else demo_settings(profile)
    load_settings(text)
    _client(env, "s3").put_object(Bucket=outputs["DataBucketName"], Key=outputs["SettingsKey"], Body=text.encode())
    if "SECRETS" in os.environ:
        secrets = json.loads(read_text(Path(os.environ["SECRETS"])))
    else:
        secrets = {
            "jestor": {"token": JESTOR_TOKEN},
            "omie": {company: {"app_key": key, "app_secret": secret} for company, (key, secret) in OMIE_KEYS.items()},
            "webhooks": {
                "jestor": [JESTOR_WEBHOOK_SECRET],
                "omie": {
                    company: {"tokens": [omie_webhook_token(company)], "app_key": key}
                    for company, (key, _) in OMIE_KEYS.items()
                },
            },
        }
    secretsmanager = _client(env, "secretsmanager")
    prefix = outputs["SecretsPrefix"]
    names = {f"{prefix}/jestor": secrets["jestor"]} | {
        f"{prefix}/omie/{company}": value for company, value in secrets["omie"].items()
    }
    if "webhooks" in secrets:
        names[webhooks_name(prefix)] = secrets["webhooks"]
    for name, value in names.items():
        secretsmanager.create_secret(Name=name, SecretString=json.dumps(value))


def omie_webhook_token(company: str) -> str:
    """The demo's; it opens nothing else."""
    return f"demo-omie-webhook-token-{company}"


def connect_webhooks(state: Mapping[str, Any]) -> None:
    """Both simulators (those that are ours) send to the deployed API from now on."""
    to, simulators = state["addresses"]["webhooks"], state["simulators"]
    wishes: dict[str, tuple[str, Any]] = {
        "jestor": (
            "triggers",
            {"url": f"{to}/jestor/contract", "churn_url": f"{to}/jestor/churn", "secret": JESTOR_WEBHOOK_SECRET},
        ),
        "omie": (
            "webhooks",
            [{"url": f"{to}/omie/{omie_webhook_token(company)}", "company": company} for company in OMIE_KEYS],
        ),
    }
    for name in simulators:
        what, wish = wishes[name]
        httpx.post(f"{simulators[name]}/_sim/{what}", json=wish, timeout=10).raise_for_status()


def unconnected(state: Mapping[str, Any], *, webhooks: bool = True) -> list[str]:
    """Which systems send no webhooks to this stack, why, and how to have them sent: `up` connects simulators only."""
    to = state["addresses"]["webhooks"]
    how = {
        "jestor": f"its trigger must POST to {to}/jestor/contract and {to}/jestor/churn (docs/jestor-setup.md), signed "
        f"with the secret {state['outputs']['SecretsPrefix']}/webhooks",
        "omie": f"add a webhook with the address {to}/omie/TOKEN for each company, TOKEN as in the secret "
        f"{state['outputs']['SecretsPrefix']}/webhooks",
    }
    variable = {"jestor": "JESTOR_BASE_URL", "omie": "OMIE_BASE_URL"}
    lines = []
    for name, advice in how.items():
        if name not in state["simulators"]:
            server = f"{variable[name]} is another server"
            lines += [
                f"No webhooks from {name}: {server}, which was not told to send any.",
                f"         To have them: {advice}.",
            ]
        elif not webhooks:
            lines.append(f"No webhooks from {name}: started with --no-webhooks.")
    if lines:
        lines.append("         Without them: billing-ops sweep finds changes and churns, daily or when you type it.")
    return lines


def client(state: Mapping[str, Any], service: Any) -> Any:
    """A client of the local stack."""
    return _client(state["env"], service)


def _client(env: Mapping[str, str], service: Any) -> Any:
    session = boto3.Session(
        env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region_name=env["AWS_DEFAULT_REGION"]
    )
    return session.client(service, endpoint_url=env["AWS_ENDPOINT_URL"], config=Config(s3={"addressing_style": "path"}))


# --- waiting, for conditions and never for time -----------------------------------------------------------------------


def _await_emulator(endpoint: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{endpoint}/_ministack/health", timeout=2).is_success:
                return
        time.sleep(0.05)
    raise LocalError(f"The emulator did not start; the end of its log:\n{_tail(LOCAL / 'emulator.log')}")


def _address_in(log: Path, pid: int) -> str:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if found := re.search(r"simulator: (http://\S+)", log.read_text(errors="replace")):
            return found[1]
        if _gone(pid):
            break
        time.sleep(0.05)
    raise LocalError(f"A simulator did not start; the end of {log.relative_to(ROOT)}:\n{_tail(log)}")


def _gone(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # where there is one: a dead process that nobody has collected is gone too
    return stat.exists() and ") Z " in stat.read_text()


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while not _gone(pid):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _need_tools() -> None:
    missing = [name for name in ("uv", "sam", "emulator") if not (TOOLS / name / "bin").is_dir()]
    if missing:
        raise LocalError(f"Missing tools: {', '.join(missing)}. Install them: make setup")


app = typer.Typer(help="The whole stack on this computer.", no_args_is_help=True)


@app.command(name="up")
def up_command(
    contracts: int = 500,
    seed: int = 7,
    latency_ms: float | None = None,
    late_titles: int = 0,
    *,
    profile: str = "demo",
    webhooks: bool = True,
) -> None:
    """Start the emulator and both simulators, deploy the template, and leave it all running."""
    state = up(contracts, seed, latency_ms, profile=profile, webhooks=webhooks)
    if late_titles and "omie" in state["simulators"]:
        add_late_titles(state, late_titles)
    typer.echo(f"AWS      {state['env']['AWS_ENDPOINT_URL']}")
    for name, address in state["addresses"].items():
        typer.echo(f"{name:<8} {address}")
    for line in unconnected(state, webhooks=webhooks):
        typer.echo(line)
    typer.echo("Try:     .venv/bin/billing-ops run --preview        End it: make down")


@app.command(name="down")
def down_command() -> None:
    """End the processes that `up` started."""
    typer.echo("Ended." if down() else "Nothing was up.")


def run(commands: typer.Typer) -> None:
    """A command line of the local stack: what stands in its way is one line, not a traceback."""
    try:
        commands()
    except LocalError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    run(app)

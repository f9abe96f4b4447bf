"""Checks of samples that are no commands: each language by the program that reads it."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from page import Block
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def check(block: Block, root: Path) -> list[str]:
    """What is wrong with a sample. Commands are run elsewhere."""
    if "file" in block.attributes and block.language not in CHECKS:
        return []  # the commands that follow use it
    checker = check_part if "from" in block.attributes else CHECKS.get(block.language)
    if checker is None:
        return [f"{block.place}: no test knows the language {block.language!r}"]
    try:
        complaint = checker(block, root)
    except (ValueError, KeyError, OSError) as error:
        complaint = f"{type(error).__name__}: {error}"
    return [f"{block.place}: {complaint}"] if complaint else []


def run(*command: str | Path, cwd: Path | None = None, must_be_silent: bool = False) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    environment["PATH"] += ":/usr/sbin"
    apart = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-n", "-m", "sh", "-c", 'ip link set lo up; mount --bind "$0" /etc/hosts; exec "$@"']
    with tempfile.NamedTemporaryFile("w", suffix="hosts") as hosts:
        hosts.write("127.0.0.1 localhost one two three engine chat chat.example backend\n")
        hosts.flush()
        done = subprocess.run([*apart, hosts.name, *map(str, command)], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    is_wrong = done.returncode or (must_be_silent and done.stdout)
    return f"{Path(command[0]).name} says\n{done.stdout}" if is_wrong else ""


def with_file(name: str, text: str, *command: str) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        path.write_text(text)
        path.chmod(0o600)
        return run(*(word.replace("FILE", str(path)).replace("DIR", scratch) for word in command), cwd=Path(scratch))


# ---- JSON

# What no contract describes: the answers of /healthz and /readyz (docs/metrics.md), the claims of a token (docs/chat-protocol.md).
OURS = {
    "health": {
        "properties": {
            "status": {"enum": ["ok", "ready", "unavailable"]},
            "reasons": {"items": {"properties": {"code": {"enum": ["draining", "history_unavailable", "loop_stuck"]}}, "required": ["code", "text"]}},
        },
        "required": ["status", "reasons"],
    },
    "claims": {
        "properties": {
            "sub": {"type": "string"},
            "exp": {"type": "integer"},
            "rooms": {"additionalProperties": {"items": {"enum": ["join", "post", "moderate"]}}},
        },
        "required": ["sub", "exp"],
        "additionalProperties": False,
    },
}


@cache
def contracts(root: Path) -> tuple[Registry, dict[str, dict]]:
    documents = {name: json.loads((root / f"src/api/{name}.json").read_text()) for name in ("asyncapi", "openapi")}
    # Only `$ref` within each document is used.
    pairs = [(f"urn:{name}", Resource.from_contents(text, default_specification=DRAFT202012)) for name, text in documents.items()]
    return Registry().with_resources(pairs), documents


def schemas_of(value: object, root: Path) -> list[str]:
    """The schemas that describe a message of this kind."""
    _, documents = contracts(root)
    if not isinstance(value, dict):
        return []
    if "type" in value and value["type"] != "about:blank":
        described = documents["asyncapi"]["components"]["schemas"].items()
        return [f"urn:asyncapi#/components/schemas/{name}" for name, schema in described
                if schema.get("properties", {}).get("type", {}).get("const") == value["type"]]
    hooks = {"ask": "HookQuestion", "allow": "HookAnswer", "event": "HookEvent"}
    name = next((schema for key, schema in hooks.items() if key in value), "Problem" if "title" in value else "")
    return [f"urn:openapi#/components/schemas/{name}"] if name in documents["openapi"]["components"]["schemas"] else []


def check_parts(text: str, root: Path) -> str:
    """Messages in which `…` stands for what is left out, with words behind them: their fields are those of the schemas."""
    registry, documents = contracts(root)
    decoder = json.JSONDecoder()
    text = re.sub(r"\[\{…\}\]|\{…\}|\[…\]|(?<=:)…", '"…"', text)
    while start := re.search(r"^\{", text, re.MULTILINE):
        message, end = decoder.raw_decode(text, start.start())
        text = text[end:]
        for schema in schemas_of(message, root):
            name = schema.removeprefix("urn:asyncapi#/components/schemas/")
            properties = properties_of(f"#/components/schemas/{name}", documents["asyncapi"])
            unknown = message.keys() - properties.keys()
            for key, value in message.items() if not unknown else []:
                validator = Draft202012Validator({"$ref": f"urn:asyncapi{properties[key]}"}, registry=registry)
                if "…" not in json.dumps(value, ensure_ascii=False) and not validator.is_valid(value):
                    unknown = {f"{key} = {value}"}
            if not unknown:
                break
        else:
            return f"no schema has {message}"
    return ""


def properties_of(place: str, document: dict) -> dict[str, str]:
    """The properties of a schema, with what it takes from others, and where each is described."""
    schema: dict = document
    for part in place.removeprefix("#/").split("/"):
        schema = schema[int(part)] if isinstance(schema, list) else schema[part]
    found = {key: f"{place}/properties/{key}" for key in schema.get("properties", {})}
    if "$ref" in schema:
        found |= properties_of(schema["$ref"], document)
    for number, _ in enumerate(schema.get("allOf", [])):
        found |= properties_of(f"{place}/allOf/{number}", document)
    return found


def check_json(block: Block, root: Path) -> str:
    if "parts" in block.attributes:
        return check_parts(block.text, root)
    registry, _ = contracts(root)
    decoder, text, values = json.JSONDecoder(), block.text.strip(), []
    while text:
        value, end = decoder.raw_decode(text)
        values += value if isinstance(value, list) else [value]
        text = text[end:].lstrip()
    named = block.attributes.get("schema")
    for value in values:
        if named in OURS:
            schemas, registry = [f"urn:{named}"], registry.with_resource(f"urn:{named}", Resource.from_contents(OURS[named], default_specification=DRAFT202012))
        elif named == "log":
            schemas, registry = ["urn:log"], registry.with_resource("urn:log", Resource.from_contents(
                json.loads((root / "docs/log.schema.json").read_text()), default_specification=DRAFT202012))
        else:
            schemas = [f"urn:{named.replace(':', '#/components/schemas/')}"] if named else schemas_of(value, root)
        if not schemas:
            return f"no schema describes {json.dumps(value)[:100]}; name one in the info string: schema=openapi:NAME"
        errors = [list(Draft202012Validator({"$ref": schema}, registry=registry).iter_errors(value)) for schema in schemas]
        if all(errors):
            return f"{json.dumps(value)[:200]} is no {schemas}: {errors[0][0].message}"
    return ""


# ---- configurations


def check_toml(block: Block, _: Path) -> str:
    if block.attributes.get("for") == "api-tokens":
        tokens = re.sub(r'"([0-9a-f]+)…"', lambda match: f'"{match[1]:0<64}"', block.text)
        return with_file("tokens", tokens, os.environ["SWITCHBOARD_BIN"], "config", "check", "--api-token-file", "FILE")
    with tempfile.TemporaryDirectory() as scratch:
        certificates(block.text, scratch)
        config = Path(scratch) / "switchboard.toml"
        text = block.text.replace("/etc/letsencrypt/live/chat.example", scratch)
        for name in re.findall(r'"/etc/switchboard/([\w-]+)"', text):
            secret = Path(scratch) / name
            secret.write_text("0123456789abcdef" * 4)
            secret.chmod(0o600)
        config.write_text(text.replace("/etc/switchboard", scratch))
        return run(os.environ["SWITCHBOARD_BIN"], "config", "check", config)


def check_yaml(block: Block, _: Path) -> str:
    kinds: list[tuple[str, list[str]]] = [
        ("services", ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "FILE"]),
        ("apiVersion", ["kubernetes-validate", "--strict", "--quiet", "FILE"]),
        ("scrape_configs", ["promtool", "check", "config", "--syntax-only", "FILE"]),
        ("groups", ["promtool", "check", "rules", "FILE"]),
    ]
    for document in yaml.safe_load_all(block.text):
        command = next((command for key, command in kinds if key in document), None)
        if command is None:
            return f"no program reads YAML with {sorted(document)}"
        complaint = with_file("sample.yaml", yaml.safe_dump(document), *command)
        if complaint:
            return complaint
    return ""


def check_nginx(block: Block, _: Path) -> str:
    text = block.text
    if not re.search(r"^server ", text, re.MULTILINE):
        text = f"server {{ listen 80; {text} }}"
    paths = " ".join(f"{kind}_temp_path DIR/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with tempfile.TemporaryDirectory() as scratch:
        head = f"pid {scratch}/pid; error_log stderr; events {{}} http {{ access_log off; {paths.replace('DIR', scratch)}"
        certificates(text, scratch)
        config = Path(scratch) / "nginx.conf"
        config.write_text(f"{head}\n{text.replace('/etc/letsencrypt/live/chat.example', scratch)}\n}}\n")
        return run("nginx", "-t", "-q", "-p", scratch, "-c", config)


def certificates(text: str, scratch: str) -> None:
    """A certificate in the place of an authority's, where a sample names one."""
    if "/etc/letsencrypt" in text or "/etc/haproxy" in text:
        names = ("--cert", f"{scratch}/fullchain.pem", "--key", f"{scratch}/privkey.pem")
        subprocess.run([os.environ["SWITCHBOARD_BIN"], "tls", "make-cert", *names], check=True, capture_output=True)
        both = [(Path(scratch) / name).read_text() for name in ("fullchain.pem", "privkey.pem")]
        (Path(scratch) / "chat.pem").write_text("".join(both))


def check_haproxy(block: Block, _: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        certificates(block.text, scratch)
        config = Path(scratch) / "haproxy.cfg"
        config.write_text(block.text.replace("/etc/haproxy", scratch))
        return run("haproxy", "-c", "-q", "-f", config)


def check_caddy(block: Block, _: Path) -> str:
    return with_file("Caddyfile", block.text, "env", "HOME=DIR", "caddy", "validate", "--adapter", "caddyfile", "--config", "FILE")


def check_varnish(block: Block, _: Path) -> str:
    head = 'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "8080"; }\n'
    return with_file("sample.vcl", head + block.text, "varnishd", "-j", "none", "-C", "-n", "DIR/work", "-f", "FILE")


def check_unit(block: Block, _: Path) -> str:
    name = re.match(r"# (\S+\.(?:service|socket))\n", block.text)
    if not name:
        return "the first line does not name the unit: `# switchboard.service`"
    program = os.environ["SWITCHBOARD_BIN"]
    text = re.sub(r"/usr/(local/)?bin/switchboard", program, block.text)
    with tempfile.TemporaryDirectory() as scratch:
        unit = Path(scratch) / name[1]
        unit.write_text(text)
        # A socket wants the service of its name, and a service may want its socket.
        if unit.suffix == ".socket":
            unit.with_suffix(".service").write_text(f"[Service]\nExecStart={program}\n")
        else:
            unit.with_suffix(".socket").write_text("[Socket]\nListenStream=127.0.0.1:8080\n")
        return run("systemd-analyze", "verify", "--man=no", unit, must_be_silent=True)


def check_rust(block: Block, root: Path) -> str:
    """Samples in Rust are doctests of the crate: the page must be among them."""
    doctests = (root / "src/lib.rs").read_text()
    return "" if f'include_str!("../{block.page}")' in doctests else f"src/lib.rs does not take {block.page} as doctests"


def check_part(block: Block, root: Path) -> str:
    """A sample that is a part of a program names it (`from=FILE`), and each of its lines is there."""
    whole = "".join((root / block.attributes["from"]).read_text().split())
    lost = [line for line in block.text.splitlines() if "".join(line.split()) not in whole]
    return f"{block.attributes['from']} has no {lost[0]!r}" if lost else ""


def check_loadgen(block: Block) -> str:
    """Commands of loadgen against servers that are not here: its options are there."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = re.sub(r"^cargo run --release -p loadgen -- ", "loadgen ", line.strip()).split()
        if words[:1] != ["loadgen"]:
            continue
        # `lead` takes another command behind its own options.
        commands = [words[1], *(word for word in words[2:] if word in ("echo", "fanout", "chat", "churn", "idle", "storm"))]
        helps = [subprocess.run([os.environ["LOADGEN_BIN"], command, "--help"], capture_output=True, text=True) for command in commands]
        known = "".join(done.stdout for done in helps)
        for flag in re.findall(r"(?<= )--[a-z-]+", " ".join(words)):
            if not re.search(rf"{flag}\b", known):
                return f"loadgen {words[1]} has no {flag}"
    return ""


def check_text(block: Block, _: Path) -> str:
    if "output" in block.attributes:
        return ""
    command = re.search(r"^(?:\$ |(?:curl|docker|apt|pip|npm|cargo|systemctl|kubectl|sudo) )", block.text, re.MULTILINE)
    return f"a command is no text: {command[0]!r}" if command else ""


CHECKS: dict[str, Callable[[Block, Path], str]] = {
    "caddyfile": check_caddy,
    "haproxy": check_haproxy,
    "ini": check_unit,
    "json": check_json,
    "nginx": check_nginx,
    "rust": check_rust,
    "sh": lambda block, _root: check_loadgen(block),
    "text": check_text,
    "toml": check_toml,
    "vcl": check_varnish,
    "yaml": check_yaml,
}

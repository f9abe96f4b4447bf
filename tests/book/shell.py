"""Runs the commands of a page as somebody who follows it does: one shell, one empty directory, from top to bottom.

The page has a network of its own (a namespace), so its ports are free and nothing outside can be reached.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from page import Block

PATIENCE_S = 120
# Names of other machines that the pages mention. All of them are this one.
HOSTS = ["localhost", "chat.example", "one", "two", "three", "engine", "chat", "backend", "app.example"]
ADDRESSES = ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
# What a clone of the repository has.
CLONE = ["benches", "docs", "examples", "loadgen", "packaging", "server", "src", "Cargo.toml"]


def run_page(root: Path, blocks: list[Block], scratch: Path, variables: dict[str, str]) -> list[str]:
    """Runs the blocks of one page in order; returns what is wrong."""
    here, programs = scratch / "here", scratch / "programs"
    here.mkdir()
    programs.mkdir()
    for name in CLONE:
        (here / name).symlink_to(root / name)
    # What is installed from here is built here.
    shutil.copytree(root / "clients", here / "clients", ignore=shutil.ignore_patterns("node_modules", "*.egg-info", "build"))
    for name in ("switchboard", "cargo", "stop-servers"):
        shutil.copy(root / "tests/book/stand-in.py", programs / name)
    (scratch / "hosts").write_text(f"127.0.0.1 {' '.join(HOSTS)}\n")
    script = scratch / "script.sh"
    script.write_text(script_of(blocks, scratch))
    # What whoever runs the tests has set is no part of a sample; without buffers two programs of Python mix their lines.
    others = ("SWITCHBOARD_", "RUST_LOG", "PORT", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment |= variables | {"BOOK_SCRATCH": str(scratch), "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin", "HOME": str(here)}
    # With a name space of process ids nothing outlives its page.
    apart = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-n", "-m", "-p", "--fork", "--mount-proc", "--kill-child"]
    try:
        done = subprocess.run([*apart, "bash", str(script)], cwd=here, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S)
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output, status = (late.stdout or b"").decode(errors="replace"), 124
    return complaints(blocks, output, status, scratch)


def script_of(blocks: list[Block], scratch: Path) -> str:
    lines = ["set -euo pipefail", "ip link set lo up", f"mount --bind {scratch}/hosts /etc/hosts"]
    # A request that is refused fails.
    lines.append('curl() { case " $* " in *" -f "*) command curl "$@" ;; *) command curl -sS --fail-with-body "$@" ;; esac; }')
    lines += [f"ip address add {address}/32 dev lo" for address in ADDRESSES]
    for number, block in enumerate(blocks):
        lines.append(f"echo; echo '@@ {number}'")
        if "file" in block.attributes:
            name = shlex.quote(block.attributes["file"])
            lines.append(f'mkdir -p "$(dirname {name})"; printf %s {shlex.quote(block.text)} >{name}')
        elif block.language == "sh":
            lines.append(block.text.replace("…", "...").rstrip("\n"))
    lines.append("echo; echo '@@ end'")
    return "\n".join(lines) + "\n"


def complaints(blocks: list[Block], output: str, status: int, scratch: Path) -> list[str]:
    said = dict(re.findall(r"^@@ (\w+)\n(.*?)(?=^@@ |\Z)", output, re.DOTALL | re.MULTILINE))
    if "end" not in said:
        last = blocks[max((int(number) for number in said), default=0)]
        logs = "".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(scratch.glob("server-*.log")))
        return [f"{last.place}: status {status}\n{output[-3000:]}\n{logs}"]
    wrong = []
    for number, block in enumerate(blocks):
        if "output" in block.attributes and not is_like(said[str(number - 1)], block.text):
            wrong.append(f"{block.place}: the output is\n{said[str(number - 1)]}")
    return wrong


def is_like(said: str, shown: str) -> bool:
    """Whether the shown output is in what was said: `…` stands for anything in a line, a line `…` for any lines."""
    pattern = ""
    for line in shown.strip().splitlines():
        pattern += r"(.*\n)*" if line.strip() == "…" else re.escape(line.strip()).replace("…", ".*") + r"(\n|\Z)"
    return re.search(pattern, "\n".join(line.strip() for line in said.splitlines()) + "\n") is not None

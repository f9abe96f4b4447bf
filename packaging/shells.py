#!/usr/bin/env python3
"""Completes command lines in real shells, with the scripts that packaging/build.sh has written.

    packaging/shells.py DIR

DIR  the directory of the scripts: `switchboard` of bash, `_switchboard` of zsh, `switchboard.fish`
"""

import os
import pty
import select
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# A line that somebody has typed, and what a shell must offer or write for it.
LINES = {
    "switchboard ser": ["serve"],
    "switchboard serve --max-conn": ["--max-connections", "--max-connections-per-address"],
    "switchboard config ": ["check", "generate", "show"],
    "switchboard config check --for ": ["serve", "echo", "fanout"],
    "switchboard serve --log-format ": ["json", "text"],
    "switchboard token mint --aud": ["--audience"],
}
SECONDS = 60


def main() -> None:
    scripts = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as home:
        for shell in (bash, fish, zsh):
            for line, expected in LINES.items():
                offered = shell(scripts, line, expected, home)
                missing = [word for word in expected if word not in offered]
                if missing:
                    sys.exit(f"{shell.__name__} does not offer {missing} for {line!r}, but\n{offered}")


def run(*command: str, home: str) -> str:
    environment = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
    return done.stdout


def bash(scripts: Path, line: str, _: list[str], home: str) -> str:
    words = line.split(" ")
    script = f"""
        . {shlex.quote(str(scripts / "switchboard"))}
        COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}
        function=$(complete -p switchboard | grep -o -- '-F [^ ]*' | cut -c 4-)
        "$function" switchboard "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
        echo "${{COMPREPLY[@]}}"
    """
    return run("bash", "--norc", "-c", script, home=home)


def fish(scripts: Path, line: str, _: list[str], home: str) -> str:
    script = f"source {shlex.quote(str(scripts / 'switchboard.fish'))}; complete -C {shlex.quote(line)}"
    return run("fish", "--no-config", "-c", script, home=home)


def zsh(scripts: Path, line: str, expected: list[str], home: str) -> str:
    """Types the line and Tab twice at a terminal: zsh completes nowhere else."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(HOME=home, ZDOTDIR=home, TERM="dumb", PS1="% ")
        os.execvp("zsh", ["zsh", "-f", "-i"])
    prepare = f"fpath=({shlex.quote(str(scripts))} $fpath); autoload -Uz compinit; compinit -u -d {home}/dump; PS1=READY"
    os.write(terminal, f"{prepare}$PS1\n".encode())
    seen, end = "", time.monotonic() + SECONDS
    has_typed = False
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                break
        # The echo of the command has a dollar sign behind it.
        if not has_typed and seen.count("READY") > seen.count("READY$"):
            os.write(terminal, line.encode() + b"\t\t")
            seen, has_typed = "", True
        elif has_typed and all(word in seen for word in expected):
            break
    os.close(terminal)
    os.waitpid(process, 0)
    return seen


if __name__ == "__main__":
    main()

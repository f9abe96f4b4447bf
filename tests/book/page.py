"""The fenced blocks of a page of the book."""

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$", re.DOTALL | re.MULTILINE)


@dataclass
class Block:
    """What an info string says: `LANGUAGE [not-run: REASON | NAME | NAME=VALUE]…`."""

    page: Path
    line: int
    language: str
    text: str
    attributes: dict[str, str] = field(default_factory=dict)
    not_run: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(root: Path, page: Path) -> list[Block]:
    text = (root / page).read_text()
    found = []
    for match in FENCE.finditer(text):
        info, _, reason = match["info"].strip().partition(" not-run: ")
        language, *words = info.replace(",", " ").split()
        pairs = (word.partition("=") for word in words)
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        line = text.count("\n", 0, match.start()) + 1
        attributes = {name: value for name, _, value in pairs}
        found.append(Block(page, line, language, body, attributes, reason.strip()))
    # A fence that is not understood would leave its block out.
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    if fences != 2 * len(found):
        raise SystemExit(f"{page}: {fences} fences are not {len(found)} blocks with a language")
    return found

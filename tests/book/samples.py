#!/usr/bin/env python3
"""Runs every sample of the book: commands in a shell, messages against their schemas, configurations by the programs that read them.

    tests/book/samples.py [PAGE...]

SWITCHBOARD_BIN, LOADGEN_BIN  the programs
SWITCHBOARD_SNAPSHOTS=update  writes not-run.txt again: what the pages say cannot be run, and why

The last word of an info string says more: `file=NAME` puts a block into a file for the commands that follow, `output` is what the
commands before it print, `not-run: REASON` is left out. `text` is for drawings and for commands in general terms.
"""

import concurrent.futures
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import checks
import shell
from page import Block, blocks_of

ROOT = Path(__file__).resolve().parent.parent.parent
# Pages that have a test of their own for every sample, or for those of a language that are no files.
TESTED_ELSEWHERE = {
    "clients/js/README.md": "clients/js/test/package.test.js",
    "clients/python/README.md": "clients/python/tests/test_readme.py",
    "docs/hooks.md js": "tests/wire/hooks.rs",
    "docs/hooks.md python": "tests/wire/hooks.rs",
}
NOT_RUN = Path(__file__).parent / "not-run.txt"


def main() -> None:
    pages = [Path(name) for name in sys.argv[1:]] or pages_of_the_book()
    wrong, passed, not_run = [], 0, Counter()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for page, (complaints, count, reasons) in zip(pages, pool.map(check_page, pages)):
            print(f"{page}: {count} samples, {len(complaints)} wrong", flush=True)
            wrong += complaints
            passed += count - len(complaints)
            not_run.update(f"{page}: {reason}" for reason in reasons)
    if not sys.argv[1:]:
        wrong += hold(not_run)
    print("".join(f"\n{complaint}\n" for complaint in wrong))
    print(f"{sum(not_run.values())} samples are not run, as they say")
    print(f"{passed} passed, {len(wrong)} failed in 0s")
    sys.exit(bool(wrong))


def pages_of_the_book() -> list[Path]:
    # The pages beside docs/ that the book takes in and that have samples.
    beside = ["README.md", "packaging/README.md", "loadgen/README.md", "benches/rivals/README.md", "clients/js/README.md", "clients/python/README.md"]
    return [*sorted(page.relative_to(ROOT) for page in (ROOT / "docs").glob("*.md")), *map(Path, beside)]


def check_page(page: Path) -> tuple[list[str], int, list[str]]:
    """What is wrong, how many samples there are, and why some of them are not run."""
    blocks = [block for block in blocks_of(ROOT, page) if not tested_elsewhere(block)]
    run = [block for block in blocks if not block.not_run]
    complaints = [complaint for block in run for complaint in checks.check(block, ROOT)]
    in_shell = [block for block in run if not is_general(page) and block.language == "sh" or {"file", "output"} & block.attributes.keys()]
    if in_shell:
        with tempfile.TemporaryDirectory() as scratch:
            complaints += shell.run_page(ROOT, in_shell, Path(scratch), variables())
    return complaints, len([block for block in run if block.language != "text"]), [block.not_run for block in blocks if block.not_run]


def is_general(page: Path) -> bool:
    """The pages of the load generator: its targets are servers of others. Their options are checked."""
    return page.name.startswith("loadgen") or page.parts[0] == "loadgen"


def tested_elsewhere(block: Block) -> bool:
    of_language = None if "file" in block.attributes else TESTED_ELSEWHERE.get(f"{block.page} {block.language}")
    test = TESTED_ELSEWHERE.get(str(block.page), of_language)
    if test and not (ROOT / test).is_file():
        sys.exit(f"{block.page}: there is no {test}")
    return test is not None


def variables() -> dict[str, str]:
    programs = {"BOOK_SWITCHBOARD": os.environ["SWITCHBOARD_BIN"], "BOOK_LOADGEN": os.environ["LOADGEN_BIN"],
                "BOOK_PERSON": f"python3 {ROOT}/tests/book/person.py"}
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.environ.get("BOOK_WHEELS", ""), "PIP_DISABLE_PIP_VERSION_CHECK": "1",
               "npm_config_offline": "true", "npm_config_cache": os.environ.get("BOOK_NPM", "")}
    return programs | offline


def hold(not_run: Counter) -> list[str]:
    """The list of what is not run is committed: who adds to it sees it in the diff."""
    now = "".join(f"{count} {what}\n" for what, count in sorted(not_run.items()))
    if os.environ.get("SWITCHBOARD_SNAPSHOTS") == "update":
        NOT_RUN.write_text(now)
    if NOT_RUN.read_text() != now:
        return [f"{NOT_RUN.relative_to(ROOT)} is not what the pages say (SWITCHBOARD_SNAPSHOTS=update writes it again):\n{now}"]
    return []


if __name__ == "__main__":
    main()

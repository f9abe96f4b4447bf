#!/usr/bin/env python3
"""Draws what a terminal shows while loadgen --tui runs, as an SVG (needs pyte from PyPI).

  loadgen/tests/picture.py SECONDS FILE.svg loadgen echo ws://127.0.0.1:9001/ --tui …
"""

import fcntl
import html
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

import pyte

ROWS, COLUMNS = 26, 92
WIDTH, HEIGHT = 8.4, 18
COLOURS = {
    'default': '#d7dde8', 'red': '#ff7b70', 'green': '#5cc98a', 'brown': '#e5c07b', 'yellow': '#e5c07b',
    'blue': '#6ea8ff', 'magenta': '#d291e4', 'cyan': '#56c7d4', 'white': '#ffffff', 'black': '#5c6370',
}


def watch(seconds, command):
    """The screen after so many seconds; the run ends by its own key."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', ROWS, COLUMNS, 0, 0))
    run = subprocess.Popen(command, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL,
                           env={**os.environ, 'TERM': 'xterm-256color'})
    os.close(theirs)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            stream.feed(os.read(ours, 65536))
    shown = [[screen.buffer[row][column] for column in range(COLUMNS)] for row in range(ROWS)]
    os.write(ours, b'q')
    while run.poll() is None:
        if select.select([ours], [], [], 0.1)[0]:
            os.read(ours, 65536)
    return shown


def row_of(cells):
    """A line as text elements, one for each part with one look."""
    parts, start = [], 0
    for column in range(1, COLUMNS + 1):
        if column < COLUMNS and (cells[column].fg, cells[column].bold) == (cells[start].fg, cells[start].bold):
            continue
        text = ''.join(cell.data for cell in cells[start:column])
        if text.strip():
            weight = ' font-weight="bold"' if cells[start].bold else ''
            colour = COLOURS.get(cells[start].fg, COLOURS['default'])
            length = (column - start) * WIDTH
            parts.append(f'<tspan x="{16 + start * WIDTH:.1f}" textLength="{length:.1f}" fill="{colour}"{weight}>'
                         f'{html.escape(text)}</tspan>')
        start = column
    return ''.join(parts)


def main():
    seconds, file, command = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
    rows = watch(seconds, command)
    while rows and not ''.join(cell.data for cell in rows[-1]).strip():
        rows.pop()
    width, height = COLUMNS * WIDTH + 32, len(rows) * HEIGHT + 28
    lines = [f'<text xml:space="preserve" y="{26 + at * HEIGHT}">{row_of(cells)}</text>' for at, cells in enumerate(rows)]
    with open(file, 'w', encoding='utf-8') as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
                  f'font-family="ui-monospace, DejaVu Sans Mono, monospace" font-size="14">\n'
                  f'<rect width="100%" height="100%" rx="8" fill="#14181f"/>\n' + '\n'.join(lines) + '\n</svg>\n')


main()

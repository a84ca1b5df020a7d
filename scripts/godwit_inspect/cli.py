# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of godwit-inspect."""
from __future__ import annotations

import argparse
import json
import mmap
import os
import sys

from . import show
from .stream import Report, inspect


def read(path: str, offset: int) -> Report:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return inspect(b"", 0, file.fileno())
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return inspect(data, offset, file.fileno())


def main() -> int:
    """Exit status: 0 whole, 1 damaged, 2 not readable."""
    parser = argparse.ArgumentParser(
        prog="godwit-inspect",
        description="Show what is in a migration stream or mapped-ram file of Godwit or QEMU, and "
                    "whether it is whole. A changed byte inside a page or a number cannot be seen: "
                    "the formats have no checksums.")
    parser.add_argument("file")
    parser.add_argument("--offset", type=lambda text: int(text, 0), default=0, metavar="BYTES",
                        help="where the stream begins, as in file:PATH,offset=BYTES")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="everything, for programs")
    what.add_argument("--check", action="store_true", help="only the verdict")
    what.add_argument("--device", nargs="?", const="", metavar="NAME",
                      help="fields and values of device sections, of all or of one")
    parser.add_argument("--ascii", action="store_true", help="draw the RAM map in plain characters")
    args = parser.parse_args()
    try:
        report = read(args.file, args.offset)
    except OSError as problem:
        print(f"godwit-inspect: {args.file}: {problem.strerror}", file=sys.stderr)
        return 2
    plain = args.ascii or "utf" not in (sys.stdout.encoding or "").lower()
    try:
        if args.json:
            json.dump(show.tree(args.file, report), sys.stdout, indent=1)
            print()
        elif args.check:
            print(show.verdict(args.file, report))
        else:
            print(show.text(args.file, report, args.device, plain))
        sys.stdout.flush()
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if report.damage else 0

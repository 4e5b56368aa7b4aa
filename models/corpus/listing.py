"""The command line that packs a corpus and lists what is in it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.console import Console

from models.command import Parser
from models.corpus import inspect
from models.corpus.pack import load_pack
from realtime.errors import UserError


def main() -> None:
    """Pack a corpus (or find its pack), and print what is in it."""
    parser = Parser(prog="python -m models.data", description=main.__doc__)
    parser.add_corpus("corpus", metavar="CORPUS")
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--list", action="store_true", help="a line a piece")
    show.add_argument("--stats", action="store_true", help="each source and split in figures")
    show.add_argument("--piece", metavar="ID", help="draw this piece (with --png)")
    parser.add_argument("--png", type=Path, metavar="FILE", help="where --piece is drawn")
    args = parser.parse_args()
    if (args.piece is None) != (args.png is None):
        raise UserError("--piece ID and --png FILE belong together; give both")
    if args.png is not None and args.png.suffix.lower() != ".png":
        raise UserError(f"--png {args.png}: a picture is written as .png; give such a name")
    pack = load_pack(args.corpus, args.cache)
    # A pipe or a file has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else 160)
    if args.piece is not None:
        inspect.draw(args.png, inspect.piece_of(pack, args.piece))
        print(f"{args.png}: written")
    elif args.list:
        console.print(inspect.listing(pack))
    elif args.stats:
        console.print(inspect.figures(pack), highlight=False)
    else:
        count: Counter[tuple[str, str]] = Counter()
        for row in pack.table:
            count[row["source"], row["split"]] += row["notes"][1] - row["notes"][0]
        for (source, split), notes in sorted(count.items()):
            print(f"{source:20s} {split:6s} {notes:9d} notes")
        for name, why in pack.skipped.items():
            print(f"skipped {name}: {why}")
        for name, first in pack.duplicates.items():
            print(f"duplicate {name}: the notes of {first}")
        for name, splits in pack.torn.items():
            print(f"composition {name}: in the published splits {splits}, and left there")
        print(inspect.summary(pack))

"""Export a training run for playing.

    python -m export runs/s -o antiphon-s.onnx --weights int8 --data ../shared/data
    python -m export --random tiny -o tiny.onnx        # a random model, to try the path without weights

The file is checked against torch before it gets its name: where parity fails no file is left, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from export.convert import contract_of, to_onnx
from export.operators import OPERATORS
from export.parity import check
from export.quantise import quantise
from models.command import Parser
from models.nets.checkpoint import load_decoder
from models.nets.decoder import SIZES, Decoder
from realtime.composing.contract import Contract
from realtime.errors import UserError
from realtime.io.graphs.seal import sealed

WEIGHTS = ("fp32", "int8")


def random_decoder(size: str, seed: int) -> Decoder:
    """An untrained decoder; its norms and biases are random too, so that a check can tell them apart."""
    torch.manual_seed(seed)
    decoder = Decoder(SIZES[size])
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return decoder.eval()


def export(
    decoder: Decoder, contract: Contract, to: Path, data: tuple[Path, Path] | None = None
) -> tuple[list[str], list[str]]:
    """Convert, check, and only then give the file its name. `data`: corpus and cache to measure nats on.

    Returns what was measured, and what breaks the contract: where that is not empty no file is left. Raises `UserError`
    where the folder cannot be written.
    """
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        part.touch()  # first, as what follows takes its time
    except OSError as error:
        raise UserError(f"{to}: cannot be written ({error.strerror}); give a file in a folder that can") from None
    try:
        model = to_onnx(decoder, contract)
        if contract.weights == "int8":
            model = quantise(model)
        part.write_bytes(sealed(model.SerializeToString()))
        parity = check(decoder, part)
        report, problems = [str(parity)], parity.problems(contract.weights)
        if data:
            from export.nats import MOST_NATS, nats_difference, validation_windows  # reads corpora: only where asked

            nats, more = nats_difference(decoder, part, validation_windows(*data))
            report.append(f"validation: {nats:.4f} nats per note in torch, {more:+.4f} through the file")
            if not more <= MOST_NATS:
                problems.append(f"{more:.4f} nats per note are lost, more than {MOST_NATS}")
        if not problems:
            os.replace(part, to)
    finally:
        part.unlink(missing_ok=True)
    return report, problems


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = Parser(prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("run", type=Path, nargs="?", metavar="RUN", help="the folder that models.train wrote")
    what.add_argument("--random", choices=SIZES, help="a random model of this size instead of a run")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.onnx")
    p.add_argument("--weights", choices=WEIGHTS, default="fp32")
    p.add_argument("--operators", choices=OPERATORS, default="fused", help="native: the ONNX standard's only")
    p.add_argument(
        "--data", type=Path, metavar="CORPUS", help="measure nats per note on this corpus's validation split"
    )
    p.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the packed corpus lies")
    p.add_argument("--seed", type=int, default=0, help="of --random")
    try:
        args = p.parse_args(arguments)
        if args.random:
            decoder, name, data_hash = random_decoder(args.random, args.seed), f"random-{args.random}", ""
        else:
            decoder, info = load_decoder(args.run)
            name, data_hash = args.run.resolve().name, str(info.get("data_hash", ""))
        contract = contract_of(decoder, name, args.operators, args.weights, data_hash)
        report, problems = export(decoder, contract, args.out, (args.data, args.cache) if args.data else None)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(*report, sep="\n")
    if problems:
        print(*(f"{args.out}: not written: {problem}" for problem in problems), sep="\n", file=sys.stderr)
        return 1
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {args.operators} operators, {args.weights} weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())

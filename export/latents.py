"""Export the graphs around latents: those of the bar autoencoder, the planner, and a decoder's context net.

    python -m export.latents --bars runs/bars --planner runs/planner --decoder runs/antiphon-s -o models/pretrained

What is not named is not written. Weights are 8-bit where they can be (`export.quantise`). A file is checked against torch
before it gets its name: as float32 it must be the same function, as 8-bit one within `BOUNDS`. See
`realtime.io.graphs.latent_graphs`.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.convert import convert
from export.operators import matrix
from export.quantise import BLOCK, quantise
from models.command import Parser, make_folder
from models.corpus.cells import Cells
from models.corpus.pack import load_pack
from models.nets.autoencoder import BarAutoencoder, load_bars
from models.nets.checkpoint import load_decoder
from models.nets.context import ContextNet
from models.nets.planner import PLACES, load_planner
from models.training.autoencoder import score
from realtime.errors import UserError
from realtime.io.files.whole import write_bytes
from realtime.io.graphs.latent_graphs import GRAPHS, BarGraphs, Label
from realtime.io.graphs.runtime import ort
from realtime.io.graphs.seal import sealed

CHECKED = 64
"""Cells that a graph is checked on; a context net takes one."""
TOLERANCE = 1e-4
"""Largest difference of a float32 graph from torch, in standard deviations of what goes out; of a probability as it is."""
BOUNDS = {"bars.encode": 0.3, "bars.decode": 0.4, "planner": 0.15, "context": 0.15}
"""The same for 8 bits. Weights and activations are rounded by up to 1/254 of the largest of their block: after the five to
twenty products of a graph that is 1 to 2 % of what goes out, and five or six times as much at the worst of many thousand
numbers. A probability may change more where it stands in doubt; what that costs is seen in F1. Anything beyond is an error."""
MOST_F1 = 0.002
"""How much of the onsets' F1 may be lost in 8 bits."""


class Encode(nn.Module):
    """roll -> standardised latent."""

    def __init__(self, bars: BarAutoencoder) -> None:
        super().__init__()
        self.encoder, self.mean, self.std = bars.encoder, bars.mean, bars.std

    def forward(self, roll: Tensor) -> Tensor:
        """See the class."""
        mean, _ = self.encoder(roll)
        return (mean - self.mean) / self.std


class Decode(nn.Module):
    """Standardised latent -> probabilities of the roll."""

    def __init__(self, bars: BarAutoencoder) -> None:
        super().__init__()
        self.decoder, self.mean, self.std = bars.decoder, bars.mean, bars.std

    def forward(self, latent: Tensor) -> Tensor:
        """See the class."""
        return self.decoder(latent * self.std + self.mean).sigmoid()


class Context(nn.Module):
    """The context net, what is drawn of its plan being an input."""

    def __init__(self, net: ContextNet) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        self.net.decoder = nn.Identity()

    def forward(
        self, latent: Tensor, known: Tensor, plan: Tensor, plan_time: Tensor, drawn: Tensor, controls: Tensor
    ) -> Tensor:
        """See the class."""
        return self.net.make(latent, known, plan, plan_time, drawn, controls)


class _Product(nn.Module):
    """`nn.Linear` with its matrix as the right factor of a product, in whole blocks if it is large: what is 8-bit in the end."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.missing = -linear.in_features % BLOCK if linear.in_features > BLOCK else 0
        self.weight, self.bias = matrix(linear), linear.bias
        if self.missing:
            self.weight = nn.Parameter(F.pad(self.weight.detach(), (0, 0, 0, self.missing)))

    def forward(self, x: Tensor) -> Tensor:
        y = (F.pad(x, (0, self.missing)) if self.missing else x) @ self.weight
        return y if self.bias is None else y + self.bias


def products(module: nn.Module) -> nn.Module:
    """A copy whose linear layers are products."""
    module = copy.deepcopy(module)
    for name, child in module.named_children():
        setattr(module, name, _Product(child) if isinstance(child, nn.Linear) else products(child))
    return module


def example(kind: str, rng: np.random.Generator, cells: int) -> dict[str, np.ndarray]:
    """Inputs of a graph: standard normal latents, rolls as empty as music is."""
    lengths = {"N": cells, "L": PLACES - 1}
    made = {}
    for name, shape in GRAPHS[kind].inputs.items():
        size = [lengths[n] if isinstance(n, str) else n for n in shape]
        match name:
            case "latent" | "plan" | "controls":
                values = rng.normal(size=size)
            case "time" | "plan_time":
                values = rng.random(size)
            case "known":
                values = rng.random(size) < 0.8
            case _:
                values = rng.random(size) < 0.02
        made[name] = values.astype(np.float32)
    return made


def to_onnx(module: nn.Module, label: Label) -> onnx.ModelProto:
    """The graph in float32, its free lengths free."""
    ports = GRAPHS[label.kind]
    most = {"N": 1 << 20, "L": PLACES}
    lengths = {name: torch.export.Dim(name, min=1, max=count) for name, count in most.items()}
    return convert(
        products(module),
        tuple(map(torch.from_numpy, example(label.kind, np.random.default_rng(0), 2).values())),
        [*ports.inputs],
        [ports.output[0]],
        tuple({i: lengths[n] for i, n in enumerate(shape) if isinstance(n, str)} for shape in ports.inputs.values()),
        label.to_json(),
    )


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """A graph's output through onnxruntime, as it is played."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def export(module: nn.Module, label: Label, to: Path) -> tuple[str, list[str]]:
    """Convert, check, and only then write the file. Returns what was measured, and what is wrong: then there is no file.
    Raises `UserError` where it cannot be written."""
    inputs = example(label.kind, np.random.default_rng(1), CHECKED)
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, inputs.values())).numpy()
    whole = to_onnx(module, label)
    small = quantise(whole)
    unit = 1.0 if label.kind == "bars.decode" else expected.std()
    error, lost = (float(np.abs(run(model, inputs) - expected).max() / unit) for model in (whole, small))
    allowed = BOUNDS[label.kind]
    problems = []
    if not error <= TOLERANCE:
        problems.append(f"in float32 it differs from torch by {error:.2g}, more than {TOLERANCE:g}")
    if not lost <= allowed:
        problems.append(f"in 8 bits it differs from torch by {lost:.2g}, more than {allowed:g}")
    if not problems:
        write_bytes(to, sealed(small.SerializeToString()))
    size = len(small.SerializeToString()) / 1e6
    return f"{to}: {size:.1f} MB, outputs within {error:.2g} of torch's in float32, {lost:.2g} in 8 bits", problems


class _Files(nn.Module):
    """The two files in place of the autoencoder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.graphs = BarGraphs.load(folder / "model.onnx")

    def forward(self, roll: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `BarAutoencoder`, but for the variance, which is not in the files."""
        latent = self.graphs.encode(roll.numpy())
        decoded = torch.from_numpy(self.graphs.decode(latent))
        return decoded.logit(), torch.from_numpy(latent), torch.zeros(latent.shape)


def bars_named(run: Path, info: dict[str, object], bars: BarAutoencoder | None) -> str:
    """The autoencoder that a run was trained on. Raises `UserError` where it was another than `bars`, or none."""
    name = info.get("bars")
    if not isinstance(name, str):
        raise UserError(f"{run}/run.json: names no autoencoder; give a run that was trained with --bars")
    if bars is not None and bars.name != name:
        raise UserError(
            f"{run}: trained on the latents of the autoencoder {name}, but --bars is {bars.name}; give its own"
        )
    return name


def info_of(run: Path) -> dict[str, object]:
    """The `run.json` of any run. Raises `UserError`."""
    try:
        return dict(json.loads((run / "run.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{run}: not a training run ({error}); give a folder that a training wrote") from None


def onset_f1(bars: BarAutoencoder, folder: Path, data: tuple[Path, Path]) -> tuple[str, list[str]]:
    """What 8 bits cost in music: F1 of onsets in torch and through the files, on the same held-out cells of a corpus and cache.
    Returns as `export` does."""
    cells = Cells(load_pack(*data), "valid")
    ours, theirs = (score(codec, cells)["onset_f1"] for codec in (bars, _Files(folder)))
    report = f"validation: onset F1 {ours:.4f} in torch, {theirs:.4f} through the files"
    return report, [f"{ours - theirs:.4f} of onset F1 is lost, more than {MOST_F1}"] if ours - theirs > MOST_F1 else []


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    p = Parser(
        prog="python -m export.latents", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--bars", type=Path, metavar="RUN", help="the folder that models.training.autoencoder wrote")
    p.add_argument("--planner", type=Path, metavar="RUN", help="the folder that models.training.planner wrote")
    p.add_argument("--decoder", type=Path, metavar="RUN", help="the folder that models.train wrote, with --bars")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER")
    p.add_argument("--data", type=Path, metavar="CORPUS", help="with --bars: measure F1 on its validation split")
    p.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the packed corpus lies")
    try:
        args = p.parse_args(arguments)
        if args.data and not args.bars:
            raise UserError("--data: is for --bars, which is not given; give both or none")
        problems = write(args)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def write(args: argparse.Namespace) -> list[str]:
    """Write what the command line asks for and print what was measured. Returns what is wrong. Raises `UserError`."""
    bars = load_bars(args.bars) if args.bars else None
    asked: list[tuple[str, Path, nn.Module | None]] = []
    if bars is not None:
        asked += [("bars.encode", args.bars, Encode(bars)), ("bars.decode", args.bars, Decode(bars))]
    if args.planner:
        asked.append(("planner", args.planner, load_planner(args.planner)))
    if args.decoder:
        net = load_decoder(args.decoder)[0].context
        asked.append(("context", args.decoder, None if net is None else Context(net)))
    graphs: list[tuple[nn.Module | None, Label, Path]] = []
    for kind, folder, module in asked:
        info, name = info_of(folder), folder.resolve().name
        latents = bars.name if bars is not None and folder == args.bars else bars_named(folder, info, bars)
        file = f"{name}.context.onnx" if kind == "context" else f"{kind}.onnx"
        graphs.append((module, Label(kind, name, latents, str(info.get("data_hash", ""))), args.out / file))
    make_folder(args.out)
    problems = []
    for module, label, file in graphs:
        assert module is not None  # `bars_named` has refused a decoder without a context net
        report, wrong = export(module, label, file)
        print(report, flush=True)
        problems += [f"{file}: not written: {problem}" for problem in wrong]
    if bars is not None and args.data and not problems:
        report, wrong = onset_f1(bars, args.out, (args.data, args.cache))
        print(report)
        problems += [f"{args.out}: {problem}" for problem in wrong]
    return problems


if __name__ == "__main__":
    sys.exit(main())

"""One contract for every layer: whole = chunked = stepwise, outputs, states and gradients; nothing looks ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.nets.decoder import SIZES, Decoder
from models.nets.layers import Block, ShortConv, SwiGLU, attend, autocast, product_dtype
from models.nets.mixers import MIXERS, GatedDeltaNet, WindowAttention, writes
from realtime.composing.memory import EXPERTS, FEATURES
from realtime.music.vocabulary import FIELDS, HELD

T = 37
TOLERANCE = 1e-4
CUTS = {"two": [20], "uneven": [1, 11, 12, 30], "steps": list(range(1, T))}


@dataclass(frozen=True)
class Case:
    """A layer, what it eats ((B, T, ...) tensors), and how it is called: (layer, inputs, state, chunk) -> (y, state)."""

    make: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], list[Tensor]]
    call: Callable[[Any, list[Tensor], Any, int], tuple[Tensor, Any]]


def signal(channels: int) -> Callable[[torch.Generator], list[Tensor]]:
    return lambda g: [torch.randn(2, T, channels, generator=g)]


def music(g: torch.Generator) -> list[Tensor]:
    ids = [torch.randint(0, size, (2, T), generator=g) for size in FIELDS.values()]
    return [torch.stack(ids, -1), (torch.rand(2, T, HELD, generator=g) < 0.02).float()]


CASES = {
    "ShortConv": Case(lambda: ShortConv(24), signal(24), lambda f, x, s, chunk: f(*x, s)),
    **{
        name: Case(lambda mixer=mixer: mixer(128), signal(128), lambda f, x, s, chunk: f(*x, s, chunk))
        for name, mixer in MIXERS.items()
    },
    "SwiGLU": Case(lambda: SwiGLU(64), signal(64), lambda f, x, s, chunk: (f(*x), None)),
    "Block": Case(lambda: Block(128, 0.0), signal(128), lambda f, x, s, chunk: f(*x, s, chunk)),
    "Decoder": Case(lambda: Decoder(SIZES["tiny"]), music, lambda f, x, s, chunk: f.trunk(*x, s, chunk)),
}


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that is over within the T steps."""
    monkeypatch.setattr(WindowAttention, "width", 12)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, list[Tensor], Case]:
    torch.manual_seed(3)
    found = CASES[request.param]
    layer = found.make()
    with torch.no_grad():  # weights that start near zero would hide a difference
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer, found.inputs(torch.Generator().manual_seed(4)), found


def tensors(state: Any) -> list[Tensor]:
    """The tensors in a state, whatever its nesting."""
    if state is None:
        return []
    return [state] if isinstance(state, Tensor) else [x for part in state for x in tensors(part)]


def run(
    layer: nn.Module, inputs: list[Tensor], case: Case, cuts: list[int], chunk: int
) -> tuple[list[Tensor], list[Tensor]]:
    """The sequence cut at `cuts`, the state handed on: ([outputs, final states], gradients of parameters and inputs)."""
    layer.zero_grad()
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    state, outputs = None, []
    for start, end in zip([0, *cuts], [*cuts, T], strict=True):
        y, state = case.call(layer, [x[:, start:end] for x in inputs], state, chunk)
        outputs.append(y)
    y = torch.cat(outputs, 1)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    (y * weight).mean().backward()
    leaves = [*layer.parameters(), *(x for x in inputs if x.requires_grad)]
    gradients = [x.grad for x in leaves if x.grad is not None]
    return [x.detach() for x in (y, *tensors(state))], gradients


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("chunk", [1, 8, 64])
def test_whole_is_chunked_is_stepwise(case: tuple[nn.Module, list[Tensor], Case], cuts: str, chunk: int) -> None:
    layer, inputs, how = case
    whole, whole_gradients = run(layer, inputs, how, [], 64)
    parts, parts_gradients = run(layer, inputs, how, CUTS[cuts], chunk)
    assert len(parts_gradients) == len(whole_gradients) > 0
    for a, b in zip(parts, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE, atol=TOLERANCE)
    for a, b in zip(parts_gradients, whole_gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE * float(b.abs().max()))


def test_causal(case: tuple[nn.Module, list[Tensor], Case]) -> None:
    layer, inputs, how = case
    now = 20
    other = [torch.cat([x[:, :now], x[:, now:].flip(1)], 1) for x in inputs]
    for chunk in (8, 64):
        y, _ = how.call(layer, inputs, None, chunk)
        z, _ = how.call(layer, other, None, chunk)
        torch.testing.assert_close(y[:, :now], z[:, :now], rtol=0, atol=1e-6)
        assert not torch.allclose(y[:, now:], z[:, now:])


def test_every_parameter_of_the_decoder_learns() -> None:
    torch.manual_seed(6)
    decoder = Decoder(SIZES["tiny"])
    events, held = music(torch.Generator().manual_seed(7))
    assert decoder.memory is not None
    for layer in (decoder.memory.read, *decoder.memory.query, *decoder.memory.agree):
        torch.nn.init.normal_(layer.weight, std=0.1)  # they start at zero, and what lies before them learns after them
    shape = (*events.shape[:2], EXPERTS)
    ids = torch.randint(0, 10, (*shape, 5), generator=torch.Generator().manual_seed(8))
    ids[..., 1] %= 5
    logits, _ = decoder(events, held, events[..., :5] % 10, candidates=(ids, torch.ones(*shape, FEATURES)))
    sum(x.square().mean() for x in logits).backward()  # type: ignore[union-attr]
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("chunk", [1, 3, 16, 64])
def test_attend_is_the_recurrence(chunk: int) -> None:
    """Against S = exp(g) S + k v^T, y = S^T q, written out in float64; decays from none to nearly total."""
    rng = np.random.default_rng(8)
    B, H, length, d = 2, 3, 50, 8
    q, k, v = rng.normal(size=(3, B, H, length, d))
    log_decay = -rng.choice([0.0, 1e-3, 0.1, 1.0, 3.0], (B, H, length))
    state = rng.normal(size=(B, H, d, d))
    expected, S = np.empty((B, H, length, d)), state.copy()
    for t in range(length):
        S = np.exp(log_decay[:, :, t, None, None]) * S + k[:, :, t, :, None] * v[:, :, t, None, :]
        expected[:, :, t] = np.einsum("bhkv,bhk->bhv", S, q[:, :, t])
    y, after = attend(*(torch.tensor(x, dtype=torch.float32) for x in (q, k, v, log_decay, state)), chunk)
    np.testing.assert_allclose(y.numpy(), expected, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(after.numpy(), S, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 3, 16, 64])
def test_writes_make_the_gated_delta_rule(chunk: int) -> None:
    """Against S = a (I - b k k^T) S + b k v^T, y = S^T q, written out in float64, from a state that is not empty."""
    rng = np.random.default_rng(9)
    B, H, length, d, e = 2, 3, 50, 8, 5
    q, k = rng.normal(size=(2, B, H, length, d))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    v = rng.normal(size=(B, H, length, e))
    log_decay = -rng.choice([0.0, 1e-3, 0.1, 1.0, 3.0], (B, H, length))
    share = rng.choice([0.0, 0.1, 0.9, 1.0], (B, H, length))
    state = rng.normal(size=(B, H, d, e))
    expected, S = np.empty((B, H, length, e)), state.copy()
    for t in range(length):
        key, b = k[:, :, t, :, None], share[:, :, t, None, None]
        kept = S - b * key @ (key.swapaxes(-1, -2) @ S)
        S = np.exp(log_decay[:, :, t, None, None]) * kept + b * key * v[:, :, t, None, :]
        expected[:, :, t] = np.einsum("bhkv,bhk->bhv", S, q[:, :, t])
    q, k, v, b, g, s = (torch.tensor(x, dtype=torch.float32) for x in (q, k, v, share, log_decay, state))
    y, after = attend(q, k, writes(k, v, b, g, s, chunk), g, s, chunk)
    np.testing.assert_allclose(y.numpy(), expected, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(after.numpy(), S, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_delta_rule_replaces_what_a_key_is_bound_to() -> None:
    """With all of it taken and nothing forgotten, a key gives back the last value bound to it, whatever it was before."""
    keys = torch.eye(4)[[0, 1, 0, 2, 0]].reshape(1, 1, 5, 4)
    values = torch.arange(20.0).reshape(1, 1, 5, 4)
    ones, zeros = torch.ones(1, 1, 5), torch.zeros(1, 1, 5)
    y, _ = attend(
        keys, keys, writes(keys, values, ones, zeros, torch.zeros(1, 1, 4, 4), 8), zeros, torch.zeros(1, 1, 4, 4), 8
    )
    torch.testing.assert_close(y, values)


def test_elu_is_a_mean_of_the_values_weighted_by_the_features() -> None:
    """Against sum f(q).f(k_i) v_i / sum f(q).f(k_i), f = elu + 1, over all steps up to now."""
    torch.manual_seed(10)
    mixer = MIXERS["elu"](64)
    q, k, v = torch.randn(3, 2, 1, T, 64)
    y, _ = mixer.mix(q, k, v, torch.zeros(2, T, 64), None, 16)
    f = torch.nn.functional.elu
    weight = ((f(q) + 1) @ (f(k) + 1).transpose(-1, -2)).tril()
    torch.testing.assert_close(y, weight / weight.sum(-1, keepdim=True) @ torch.nn.functional.silu(v))


def test_window_attention_is_softmax_over_the_window() -> None:
    """Against one softmax a step over the last 12 keys, with the bias of their distance; zeros before the start."""
    torch.manual_seed(11)
    mixer = WindowAttention(128)
    q, k, v = torch.randn(3, 1, 2, T, 64)
    y, _ = mixer.mix(q, k, v, torch.zeros(1, T, 128), None, 8)
    for head, slope in enumerate((2**-4, 2**-8)):
        for t in range(T):
            keys, values = (
                torch.cat([torch.zeros(12, 64), x[0, head]])[t + 1 : t + 13] for x in (k, v)
            )  # steps t - 11 .. t
            score = keys @ q[0, head, t] / 8 - slope * torch.arange(11, -1, -1)
            torch.testing.assert_close(y[0, head, t], score.softmax(0) @ values, rtol=1e-4, atol=1e-5)


def test_keys_of_the_delta_rule_have_length_one() -> None:
    """Else a write could grow the state without bound: ten times the input leaves the output as it is."""
    torch.manual_seed(12)
    mixer = GatedDeltaNet(64)
    q, k, v = torch.randn(3, 1, 1, T, 64)
    x = torch.randn(1, T, 64)
    y, _ = mixer.mix(q, k, v, x, None, 16)
    z, _ = mixer.mix(10 * q, 10 * k, v, x, None, 16)
    torch.testing.assert_close(y, z)


# --- the dtype of training ---


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"architecture": "aarch64", "neon": True}, torch.float32),
    ],
    ids=["AVX2", "AVX-512", "AVX-512 BF16", "AMX BF16", "ARM"],
)
def test_products_are_in_bfloat16_only_where_the_cpu_has_instructions(
    features: dict[str, bool | str], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    assert product_dtype(cpu, features) == expected
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    x = torch.ones(2, 2)
    with autocast(cpu):
        assert (x @ x).dtype == expected

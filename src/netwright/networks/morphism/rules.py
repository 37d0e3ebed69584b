"""What a layer takes over from its forerunner of the same kind, one function a kind.

Each is given both parts, the flow that comes in, and maybe one that is wanted, since something is
added to what comes out; it sets the child's weights and says the flow that goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from netwright.networks.layers.basic import (
    Activation,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Norm,
    Pool,
    Skip,
    Zero,
)
from netwright.networks.layers.blocks import (
    Recurrent,
    Rows,
    SelfAttention,
    SqueezeExcitation,
    StochasticDepth,
)
from netwright.networks.morphism.channel_map import (
    NEW,
    Flow,
    around,
    read,
    replicated,
    resized,
    unknown,
    width,
)
from netwright.networks.morphism.identity_init import (
    can_be_identity,
    centre,
    identity_norm,
    plain_norm,
)
from netwright.networks.morphism.module_tree import Part, is_neutral
from netwright.networks.morphism.transfer import Transfer, importance_of, set_norm, set_weights
from netwright.networks.tabular.columns import Embedding, Periodic

Heir = Callable[[Transfer, Part, Part, Flow, Flow | None], Flow]


def replaced(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    """Another kind of layer: it starts afresh, and what comes after it goes on as before."""
    names = [type(part.network).__name__ for part in (old, new)]
    if names[0] == names[1]:
        names = [repr(part.network) for part in (old, new)]
    transfer.lose(new.position, f"{names[1]} in place of {names[0]} starts afresh")
    return transfer.carried(flow, old.out, new.out, wanted)


def _conv(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    a, b = old.network, new.network
    assert isinstance(a, Conv)
    assert isinstance(b, Conv)
    if b.separable and not a.separable:
        return replaced(transfer, old, new, flow, wanted)
    ours, theirs = _convs(old), _convs(new)
    first, last = ours[0].weight, theirs[-1]
    if a.separable and not b.separable:
        first = ours[1].weight * first[:, 0]  # both at once: (o, i, k, k)
    kernel, groups = _fitted(transfer, new, ours[0], theirs[0], first), ours[0].groups
    if b.separable:
        of = flow.origin  # each channel is what its own channel was
        into = set_weights(transfer, new.position, flow, theirs[0], kernel, groups, of)
        flow, kernel = replace(flow, origin=into), ours[1].weight
    if a.separable:
        groups = 1
    if last.groups == last.in_channels == last.out_channels > 1 and flow.fits(
        width(old.out), width(new.out)
    ):
        out = flow.origin
    else:
        importance = importance_of(old, kernel)
        out = transfer.chosen(width(old.out), width(new.out), importance, flow, wanted)
    bias = ours[-1].bias
    out = set_weights(transfer, new.position, flow, last, kernel, groups, out, bias)
    return _after(transfer, old, new, out)


def _linear(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    ours, theirs = (part.inner("linear", nn.Linear) for part in (old, new))
    kernel = ours.weight[:, :, None, None]
    importance = importance_of(old, kernel)
    out = transfer.chosen(ours.out_features, theirs.out_features, importance, flow, wanted)
    out = set_weights(transfer, new.position, flow, theirs, kernel, 1, out, ours.bias)
    return _after(transfer, old, new, out)


def _convs(part: Part) -> list[nn.Conv2d]:
    return [one for one in part.module.children() if isinstance(one, nn.Conv2d)]


def _fitted(
    transfer: Transfer, new: Part, ours: nn.Conv2d, theirs: nn.Conv2d, kernel: Tensor
) -> Tensor:
    """The parent's kernel in the child's size, around the same pixel where that can be."""
    (size, _), (wanted, _), (dilation, _) = ours.kernel_size, theirs.kernel_size, theirs.dilation
    if ours.stride != theirs.stride:
        transfer.lose(new.position, f"stride {theirs.stride[0]} in place of {ours.stride[0]}")
    shift = int(theirs.padding[0]) - int(ours.padding[0])
    offset = shift // dilation
    if size > 1 and ours.dilation != theirs.dilation:
        transfer.lose(new.position, f"dilation {dilation} in place of {ours.dilation[0]}")
        offset = (wanted - size) // 2
    elif shift % dilation or offset < 0 or offset + size > wanted:
        what = f"kernel {wanted} in place of {size}"
        transfer.lose(new.position, what if size != wanted else "another padding")
        offset = (wanted - size) // 2
    return resized(kernel, wanted, offset)


def _after(transfer: Transfer, old: Part, new: Part, out: Tensor) -> Flow:
    """Normalisation and activation of a layer."""
    a, b, flow = old.network, new.network, Flow(old.out, new.out, out)
    assert isinstance(a, Conv | Linear)
    assert isinstance(b, Conv | Linear)
    ours, theirs = (part.module.get_submodule("norm") for part in (old, new))
    set_norm(transfer, new.position, ours, theirs, flow)
    if a.activation != b.activation:
        transfer.lose(new.position, f"activation {b.activation} in place of {a.activation}")
    return flow


def identity(transfer: Transfer, new: Part, flow: Flow, wanted: Flow | None) -> Flow | None:
    """Makes an inserted convolution or dense layer hand on what comes in; None where it cannot."""
    if not can_be_identity(new, flow.positive) or not (flow.origin >= 0).any():
        return None
    taken, before, convs = transfer.taken, width(flow.before), _convs(new)
    last: nn.Conv2d | nn.Linear = convs[-1] if convs else new.inner("linear", nn.Linear)
    kernel, into = torch.ones(before, 1, 1, 1), flow  # each channel reads itself
    if convs:
        around_it = resized(kernel, convs[0].kernel_size[0], centre(new) or 0)
        if len(convs) == 2:  # separable
            of = flow.origin
            of = set_weights(transfer, new.position, flow, convs[0], around_it, before, of)
            into = replace(flow, origin=of)
        else:
            kernel = around_it
    out = transfer.chosen(before, width(new.out), torch.ones(before), flow, wanted)
    out = set_weights(transfer, new.position, into, last, kernel, before, out)
    transfer.taken = taken  # these are no weights of the parent's
    norm = plain_norm(new.module.get_submodule("norm"))
    if not isinstance(norm, nn.Identity):
        identity_norm(norm, torch.zeros(width(new.out)), torch.ones(width(new.out)))
        transfer.identities.append(norm)
    return Flow(flow.before, new.out, out)


def _passed(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    """Channel by channel, without weights; its settings matter unless it does nothing."""
    harmless = all(is_neutral(part.network, flow.positive) for part in (old, new))
    if old.network != new.network and not harmless:
        transfer.lose(new.position, f"{new.network!r} in place of {old.network!r}")
    return transfer.carried(flow, old.out, new.out)


def _norm(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    set_norm(transfer, new.position, old.module, new.module, flow)
    return Flow(old.out, new.out, flow.origin)


def _flatten(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    """(c, h, w) -> (c h w,); (t, c) -> (t c,)."""
    if around(old.into) != around(new.into):
        return unknown(old.out, new.out)
    images = len(old.into) == 3
    places = torch.arange(width(old.out)).view(*old.into)
    by_channel = (places if images else places.movedim(-1, 0)).flatten(1)  # (c, others)
    found = torch.where(flow.origin[:, None] >= 0, by_channel[flow.origin], NEW)  # (c', others)
    return Flow(old.out, new.out, (found if images else found.T).flatten())


def _rows(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    """(c, h, w) -> (h, c w)."""
    if around(old.into) != around(new.into):
        return unknown(old.out, new.out)
    w = old.into[2]
    columns = flow.origin[:, None] * w + torch.arange(w)  # (c', w)
    found = torch.where(flow.origin[:, None] >= 0, columns, NEW)
    return Flow(old.out, new.out, found.flatten())


def _squeeze(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    squeeze, excite = (old.inner(name, nn.Conv2d) for name in ("squeeze", "excite"))
    ours, theirs = (new.inner(name, nn.Conv2d) for name in ("squeeze", "excite"))
    hidden, hidden_new = squeeze.out_channels, ours.out_channels
    if hidden_new < hidden and flow.is_whole:
        transfer.lose(new.position, f"{hidden_new} hidden channels in place of {hidden}")
    importance = squeeze.weight.flatten(1).norm(dim=1) * excite.weight.flatten(1).norm(dim=0)
    of = transfer.chosen(hidden, hidden_new, importance)
    of = set_weights(
        transfer, new.position, flow, ours, squeeze.weight, 1, of, squeeze.bias
    )  # fmt: skip
    between = Flow((hidden,), (hidden_new,), of)
    set_weights(
        transfer, new.position, between, theirs, excite.weight, 1, flow.origin, excite.bias
    )  # fmt: skip
    return Flow(old.out, new.out, flow.origin)


def _attention(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    """Heads get wider, each from its own."""
    a, b = old.network, new.network
    assert isinstance(a, SelfAttention)
    assert isinstance(b, SelfAttention)
    c, c_new = width(old.out), width(new.out)
    if a.heads != b.heads or c_new < c:
        return replaced(transfer, old, new, flow, wanted)
    d, d_new = c // a.heads, c_new // a.heads
    of_head = replicated(d, d_new, transfer.seed)
    inner = torch.cat([head * d + of_head for head in range(a.heads)])  # (c',)
    ours, theirs = (part.inner("qkv", nn.Linear) for part in (old, new))
    qkv = torch.cat([inner, inner + c, inner + 2 * c])
    kernel = ours.weight[:, :, None, None]
    of = set_weights(transfer, new.position, flow, theirs, kernel, 1, qkv, ours.bias)
    # q k / sqrt(d) counts each replica, and is divided by another d
    scale = (d_new / d) ** 0.5 / torch.bincount(inner)[inner]
    theirs.weight[:c_new] *= scale[:, None]
    theirs.bias[:c_new] *= scale
    between = Flow((c,), (c_new,), torch.where(of[:c_new] >= 0, inner, NEW))
    ours, theirs = (part.inner("out", nn.Linear) for part in (old, new))
    kernel = ours.weight[:, :, None, None]
    out = transfer.chosen(c, c_new, torch.ones(c), flow, wanted)
    out = set_weights(transfer, new.position, between, theirs, kernel, 1, out, ours.bias)
    return Flow(old.out, new.out, out)


def _recurrent(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    a, b = old.network, new.network
    assert isinstance(a, Recurrent)
    assert isinstance(b, Recurrent)
    if (a.kind, a.both) != (b.kind, b.both) or b.features < a.features:
        return replaced(transfer, old, new, flow, wanted)
    if not (flow.origin >= 0).any():
        return unknown(old.out, new.out)
    hidden = replicated(a.features, b.features, transfer.seed)
    gates = {"gru": 3, "lstm": 4}[a.kind]
    rows = torch.cat([gate * a.features + hidden for gate in range(gates)])
    state = old.module.state_dict()
    for name, mine in new.module.state_dict().items():
        if "bias" in name:
            mine.copy_(state[name][rows])
        else:
            source = flow.origin if "_ih_" in name else hidden
            kernel = state[name][:, :, None, None]
            mine.copy_(read(kernel, 1, source, rows, len(source), 1).weight[:, :, 0, 0])
            transfer.disturb(mine, rows)
        transfer.taken += mine.numel()
    both = [hidden, hidden + a.features] if a.both else [hidden]
    return Flow(old.out, new.out, torch.cat(both))


def _embedding(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    a, b = old.network, new.network
    assert isinstance(a, Embedding)
    assert isinstance(b, Embedding)
    if not flow.is_same or a.cardinalities != b.cardinalities:
        return replaced(transfer, old, new, flow, wanted)
    ours, theirs = (part.inner("table", nn.Embedding).weight for part in (old, new))
    size = transfer.chosen(a.size, b.size, importance=ours.norm(dim=0))
    theirs.copy_(ours[:, size])
    transfer.taken += theirs.numel()
    return _of_columns(old, new, a.size, size)


def _periodic(transfer: Transfer, old: Part, new: Part, flow: Flow, wanted: Flow | None) -> Flow:
    a, b = old.network, new.network
    assert isinstance(a, Periodic)
    assert isinstance(b, Periodic)
    if not flow.is_same:
        return replaced(transfer, old, new, flow, wanted)
    ours, theirs = old.module.state_dict(), new.module.state_dict()
    weight = ours["weight"]  # (columns, 2 frequencies, size)
    size = transfer.chosen(a.size, b.size, importance=weight.norm(dim=(0, 1)))
    waves = weight.norm(dim=(0, 2)).view(2, -1).norm(dim=0)
    wave = transfer.chosen(a.frequencies, b.frequencies, importance=waves)
    if b.frequencies < a.frequencies:
        transfer.lose(new.position, f"{b.frequencies} frequencies in place of {a.frequencies}")
    both = torch.cat([wave, wave + a.frequencies])  # sines, then cosines
    replicas = torch.bincount(both, minlength=2 * a.frequencies)[both]
    theirs["frequency"].copy_(ours["frequency"][:, wave])
    theirs["weight"].copy_(weight[:, both][:, :, size] / replicas[:, None])
    theirs["bias"].copy_(ours["bias"][:, size])
    transfer.taken += sum(one.numel() for one in theirs.values())
    return _of_columns(old, new, a.size, size)


def _of_columns(old: Part, new: Part, before: int, size: Tensor) -> Flow:
    """Every column became `before` numbers, and becomes those of the origins `size`."""
    starts = torch.arange(width(new.into))[:, None] * before
    return Flow(old.out, new.out, (starts + size).flatten())


HEIRS: Mapping[type[Layer], Heir] = {
    Conv: _conv,
    Linear: _linear,
    Norm: _norm,
    Flatten: _flatten,
    Rows: _rows,
    SqueezeExcitation: _squeeze,
    SelfAttention: _attention,
    Recurrent: _recurrent,
    Embedding: _embedding,
    Periodic: _periodic,
    **dict.fromkeys((Pool, GlobalPool, Activation, Dropout, Skip, StochasticDepth, Zero), _passed),
}
"""The layers that netwright knows how channels go through."""

"""Activations of a layer: what is recorded, and that nothing of the recording is left behind."""

import pytest
import torch
from torch import nn

from ablab.errors import UserError
from ablab.interpret.layers.activations import activations, recorded
from tests.ablab.interpret.small_pictures import network, small_pictures
from toy.models import Linear, Net


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("layer", [None, "lin1"])
def test_hooks_are_removed_also_after_an_exception(layer: str | None) -> None:
    model = network()
    with recorded(model, layer):
        assert hooks(model) == 1
    assert hooks(model) == 0
    with pytest.raises(RuntimeError), recorded(model, layer):
        model(torch.zeros(2, 5))
    assert hooks(model) == 0


def test_activations_are_those_of_a_pass_by_hand() -> None:
    """21 rows in batches of 8; dropout and batch norm as in evaluation, whatever mode it was in."""
    data, model = small_pictures(), network(dropout=0.5, batch_norm=True)
    means = model.bn1.running_mean.clone()  # type: ignore[union-attr]
    pixels = data.parts["test"][0]
    model.train()
    before, hidden = activations(model, data, "test", "lin1"), activations(model, data, "test")
    assert before.shape == hidden.shape == (21, 6)
    torch.testing.assert_close(before, pixels @ model.lin1.weight.T + model.lin1.bias)
    torch.testing.assert_close(hidden, torch.relu(before / (1 + model.bn1.eps) ** 0.5))  # type: ignore[operator]
    assert torch.equal(means, model.bn1.running_mean)  # type: ignore[arg-type]
    assert not hidden.requires_grad


def test_the_default_is_the_input_of_the_last_linear_layer() -> None:
    pixels, model = torch.rand(2, 4), Linear(4, 3)
    with recorded(model) as records:
        model(pixels)
    assert torch.equal(records[0], pixels)
    network = Net(4, 3).eval()
    with recorded(network) as records:
        logits = network(pixels)
    torch.testing.assert_close(network.lin2(records[0]), logits)


def test_activations_of_any_shape_are_flattened() -> None:
    class Square(Net):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return super().forward(self.square(pixels).flatten(1))

    data, model = small_pictures(), Square(4, 3)
    model.square = nn.Unflatten(1, (1, 2, 2))
    assert torch.equal(activations(model, data, "test", "square"), data.parts["test"][0])


def test_what_a_later_layer_changes_in_place_is_not_recorded() -> None:
    layers = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    with recorded(layers, "0") as records:
        layers(torch.tensor([[-1.0, 2.0]]))
    assert records[0].tolist() == [[-1, 2]]


def test_layers_of_a_compiled_model_are_recorded() -> None:
    data, model = small_pictures(), network()
    expected = activations(model, data, "test")
    model.compile(backend="eager")
    assert torch.equal(activations(model, data, "test"), expected)


def test_an_unknown_layer_is_refused_with_the_names_of_the_others() -> None:
    with (
        pytest.raises(UserError, match="no layer 'lin3'; did you mean 'lin"),
        recorded(network(), "lin3"),
    ):
        pass
    listed = "there is: bn1, dropout, lin1, lin2"
    with pytest.raises(UserError, match=f"{listed}$"), recorded(network(), "zzz"):
        pass
    with pytest.raises(UserError, match="has no linear layer"), recorded(nn.ReLU()):
        pass


def test_a_layer_that_gives_no_tensor_or_not_one_row_each_is_refused() -> None:
    class Odd(Net):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            self.bn1(self.bn1(pixels))
            return self.pair(super().forward(pixels))[0]

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    model, data = Odd(4, 3), small_pictures()
    model.pair = Pair()
    with pytest.raises(UserError, match="output of pair: is a tuple, not a tensor"):
        activations(model, data, "test", "pair")
    with pytest.raises(UserError, match="output of bn1: has 63 rows for 21 rows of the data"):
        activations(model, data, "test", "bn1")
    assert hooks(model) == 0

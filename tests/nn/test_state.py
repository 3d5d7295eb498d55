"""state_dict and load_state_dict: snapshots, and the one report of everything that is wrong."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn import nn
from tinygrad_attn.errors import CheckpointError


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def arrays(model):
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def test_a_snapshot_holds_parameters_and_persistent_buffers():
    model = nn.Sequential(nn.Linear(2, 3))
    model.register_buffer("steps", ta.tensor(3))
    model.register_buffer("scratch", ta.zeros(3), persistent=False)
    model.register_buffer("absent", None)
    state = model.state_dict()
    assert list(state) == ["steps", "0.weight", "0.bias"]
    assert not any(t.requires_grad for t in state.values())


def test_training_on_does_not_change_a_snapshot():
    model = nn.Linear(2, 3)
    state = model.state_dict()
    before = state["weight"].numpy().copy()
    nn.init.zeros_(model.weight)
    np.testing.assert_array_equal(state["weight"].numpy(), before)
    assert model.load_state_dict(state) == ([], [])
    np.testing.assert_array_equal(model.weight.numpy(), before)
    nn.init.ones_(model.weight)
    np.testing.assert_array_equal(state["weight"].numpy(), before)


def test_a_shared_parameter_stands_under_both_paths_as_one_tensor():
    state = tied().state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert state["0.weight"] is state["1.weight"]


def test_numpy_arrays_load_and_are_converted():
    model = nn.Linear(2, 3)
    values = {"weight": np.arange(6.0).reshape(3, 2), "bias": ta.tensor([1.0, 2.0, 3.0])}
    model.load_state_dict(values)
    assert model.weight.dtype == ta.float32 and model.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    values["weight"][0] = 9
    assert model.weight.tolist()[0] == [0, 1]


def test_loading_crosses_devices():
    model = nn.Linear(2, 3).to("standin")
    twin = nn.Linear(2, 3)
    twin.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(twin.weight.numpy(), model.weight.numpy())
    model.load_state_dict({name: 2 * value for name, value in arrays(twin).items()})
    assert model.weight.device == "standin:0"
    np.testing.assert_array_equal(model.weight.numpy(), 2 * twin.weight.numpy())


def test_one_report_names_everything_that_is_wrong_and_nothing_is_loaded():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1), nn.Embedding(4, 2))
    before = arrays(model)
    values = {name: value + 1 for name, value in before.items()}
    del values["1.bias"]
    values["2.weight"] = values["2.weight"].T
    values["0.bias"] = [1.0, 2.0, 3.0]
    values["1.weight"] = np.ones((1, 3), bool)
    values["3.weight"] = np.ones(3)
    with pytest.raises(CheckpointError) as failure:
        model.load_state_dict(values)
    assert str(failure.value).splitlines() == [
        "load_state_dict: these weights do not fit Sequential; nothing was loaded",
        "  1 missing: 1.bias",
        "  1 unexpected: 3.weight",
        "  3 of another shape or type: 0.bias is a list, not a tensor or an array, "
        "1.weight is bool, the model has float32, 2.weight is (2, 4), the model has (4, 2)",
        "  give the weights of the same architecture, "
        "or pass strict=False to pass over missing and unexpected ones",
    ]
    for name, value in arrays(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_long_report_is_cut_short():
    with pytest.raises(CheckpointError, match=r"40 unexpected: 0, 1, 2.*, 11, and 28 more"):
        nn.ReLU().load_state_dict({str(i): np.ones(1) for i in range(40)})


def test_without_strict_missing_and_unexpected_are_returned():
    model = nn.Linear(2, 3)
    report = model.load_state_dict({"weight": np.ones((3, 2)), "other": np.ones(1)}, strict=False)
    assert report.missing_keys == ["bias"] and report.unexpected_keys == ["other"]
    assert model.weight.tolist() == [[1, 1]] * 3


def test_without_strict_a_wrong_shape_is_still_an_error():
    model = nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match=r"weight is \(2, 3\), the model has \(3, 2\)"):
        model.load_state_dict({"weight": np.ones((2, 3)), "bias": np.ones(3)}, strict=False)
    assert model.bias.tolist() != [1, 1, 1]


def test_a_shared_parameter_may_stand_under_one_path_only():
    model = tied()
    values = arrays(model)
    del values["1.weight"]
    values["0.weight"] = np.eye(3)
    model.load_state_dict(values)
    assert model[1].weight.tolist() == np.eye(3).tolist()


def test_two_values_for_one_parameter_are_a_contradiction():
    model = tied()
    values = arrays(model)
    values["1.weight"] = values["1.weight"] + 1
    with pytest.raises(
        CheckpointError, match=r"one parameter, two values: 0\.weight and 1\.weight"
    ):
        model.load_state_dict(values)


def test_what_is_no_dict_is_refused():
    with pytest.raises(CheckpointError, match="values is a list; give a dict"):
        nn.Linear(1, 1).load_state_dict([1, 2])


def test_loading_is_noticed_by_a_graph_that_needs_the_old_weights():
    layer = nn.Linear(2, 2)
    loss = layer(ta.ones(1, 2, requires_grad=True)).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(ta.GraphError, match="overwritten in place"):
        loss.backward()

"""Every family's model is an ordinary module: to build, copy, export, train, save and give other stages."""

import copy
import pickle

import pytest
import torch

from backbone_cli import AutoBackbone, registry
from tests.models.parity import Case, assert_same_maps, distance, load_all_stages, load_oracle, maps_of, pixels, save
from tests.models.test_parity import CASES, case_id

each_family = pytest.mark.parametrize("case", CASES.values(), ids=case_id)


def config_of(case: Case, **options):
    return registry.find_family(case.model_type).config_class().from_dict(case.small, **options)


def random_model(case: Case, **options):
    return AutoBackbone.from_config(config_of(case, **options))


def model_with_all_stages(case: Case):
    return random_model(case, out_indices=list(range(len(config_of(case).stage_names))))


def pixels_for(case: Case):
    return pixels(case.sizes[0])


def assert_equal_maps(actual, expected, tolerance=0.0):
    assert len(actual.feature_maps) == len(expected.feature_maps)
    for a, b in zip(actual.feature_maps, expected.feature_maps, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


@pytest.fixture
def uninitialized_is_nan():
    """torch fills uninitialized memory with NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@each_family
def test_model_built_by_its_class_is_fully_initialized(case, uninitialized_is_nan):
    model = type(random_model(case))(config_of(case))
    for name, tensor in model.state_dict().items():
        assert torch.isfinite(tensor).all(), f"{name} is not initialized"
    maps = model.eval()(pixels_for(case)).feature_maps
    assert all(torch.isfinite(m).all() and m.std() > 0 for m in maps)


@each_family
def test_same_seed_gives_same_weights(case):
    config = config_of(case)
    first, second, other = (AutoBackbone.from_config(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@each_family
def test_copies_and_pickles(case):
    model = random_model(case, out_indices=[0])
    x = pixels_for(case)
    for duplicate in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_equal_maps(duplicate(x), model(x))
        duplicate.out_indices = [-1]
        assert_equal_maps(duplicate(x), random_model(case)(x))


@each_family
def test_export(case):
    # A size that no other test uses, if the family takes more than one.
    height, width = case.sizes[0]
    model, x = model_with_all_stages(case), pixels((height + 16 * (len(case.sizes) > 1), width), batch=1)
    exported = torch.export.export(model, (x,)).module()
    # Nothing that was cached while exporting or in inference mode may be used by later calls.
    with torch.inference_mode():
        model(x)
    expected = model(x)
    sum(m.sum() for m in expected.feature_maps).backward()
    assert_equal_maps(exported(x), expected, 1e-5)


def test_exported_model_round_trip_through_a_file(tmp_path):
    model, x = random_model(CASES["resnet"]), pixels_for(CASES["resnet"])
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    assert_equal_maps(torch.export.load(tmp_path / "net.pt2").module()(x), model(x), 1e-5)


@each_family
def test_compile(case):
    model, x = random_model(case, out_indices=[0, 1]), pixels(case.sizes[0], batch=1)
    torch.compiler.reset()
    assert_equal_maps(torch.compile(model, backend="eager", fullgraph=True)(x), model(x), 1e-5)


@each_family
def test_gradients_reach_every_parameter(case):
    model, x = model_with_all_stages(case).train(), pixels_for(case)
    sum((m * torch.randn_like(m)).sum() for m in model(x).feature_maps).backward()
    without_gradient = [
        name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()
    ]
    assert not without_gradient


@each_family
def test_state_dict_and_dtypes(case):
    model, x = random_model(case), pixels_for(case)
    other = AutoBackbone.from_config(config_of(case), seed=5)
    other.load_state_dict(model.state_dict())
    assert_equal_maps(other(x), model(x))
    assert model.dtype == torch.float32 and model.device.type == "cpu"
    assert all(m.dtype == torch.float64 for m in model.double()(x.double()).feature_maps)
    assert all(m.dtype == torch.bfloat16 for m in model.bfloat16()(x.bfloat16()).feature_maps)
    assert all(p.dtype == torch.float16 for p in model.half().parameters())


@each_family
def test_saved_models_load_here_and_in_transformers(case, tmp_path):
    oracle = case.build(case.small)
    load_all_stages(save(oracle, tmp_path / "oracle"), oracle).save_pretrained(tmp_path / "saved")
    x = pixels_for(case)
    model = load_all_stages(tmp_path / "saved", oracle)
    assert_same_maps(model, oracle, x)
    assert_same_maps(model, load_oracle(case, tmp_path / "saved"), x)
    assert type(model).from_pretrained(str(tmp_path / "saved")).out_features == oracle.out_features


@each_family
def test_changing_stages_of_a_loaded_model(case, tmp_path):
    oracle = case.build(case.small)
    folder, x = save(oracle, tmp_path), pixels_for(case)
    expected, names = maps_of(oracle, x), oracle.stage_names
    # A stem that is the input itself has no parameters, so the model would have no dtype.
    first = 0 if list(random_model(case, out_indices=[0]).parameters()) else 1
    model = AutoBackbone.from_pretrained(str(folder), out_indices=[first], dtype="float64")
    for chosen in ([1], [0, -1], [1], list(range(len(names)))):
        model.out_indices = chosen
        assert model.out_features == [names[i] for i in chosen]
        assert {p.dtype for p in model.parameters()} <= {torch.float64} and not model.training
        for name, actual in maps_of(model, x.double()).items():
            torch.testing.assert_close(actual.float(), expected[name], atol=1e-3, rtol=1e-3)
    model.out_features = names[-1:]
    assert model.out_indices == [len(names) - 1]


@each_family
def test_changing_stages_keeps_trained_parameters(case):
    model = random_model(case, out_indices=[0, -1]).train()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.25)
    before, x = dict(model.named_parameters()), pixels_for(case)
    expected = model.eval()(x)
    model.out_indices = [0]
    model.train().out_indices = [0, 1]
    model.out_indices = [0, -1]
    after = dict(model.named_parameters())
    assert all(after[name] is p for name, p in before.items()) and model.training
    assert_equal_maps(model.eval()(x), expected)


@each_family
def test_hidden_states(case):
    model, x = random_model(case), pixels_for(case)
    assert model(x).hidden_states is None
    states = model(x, output_hidden_states=True).hidden_states
    assert len(states) == len(model.stage_names)
    configured = AutoBackbone.from_config(config_of(case, output_hidden_states=True))
    assert all(torch.equal(a, b) for a, b in zip(configured(x).hidden_states, states, strict=True))
    assert configured(x, output_hidden_states=False).hidden_states is None
    maps, hidden_states = configured(x, return_dict=False)
    assert len(maps) == 1 and len(hidden_states) == len(states)


# transformers' MaskFormer-Swin returns no state of its stem.
@pytest.mark.parametrize("case", [c for c in CASES.values() if c.model_type != "maskformer-swin"], ids=case_id)
def test_hidden_states_equal_the_oracle(case, tmp_path):
    oracle = case.build(case.small)
    model, x = load_all_stages(save(oracle, tmp_path), oracle), pixels_for(case)
    with torch.no_grad():
        actual, expected = (net(x, output_hidden_states=True).hidden_states for net in (model, oracle))
    for a, b in zip(actual, expected, strict=True):
        if a.ndim > b.ndim:  # Swin v2 and FocalNet return tokens here
            b = b.transpose(1, 2).reshape(a.shape)
        elif case.model_type in ("nat", "dinat"):
            b = b.permute(0, 3, 1, 2)
        assert distance(a, b) < 1e-4

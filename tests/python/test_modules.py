"""Every family's model is an ordinary module: built by hand, copied, traced, trained, saved, and given other stages."""

import copy
import pickle

import pytest
import torch

from backbone_cli import AutoBackbone, registry
from tests.models.parity import Case, assert_same_maps, distance, load_oracle, load_ours, maps_of, pixels, save
from tests.models.test_parity import CASES, by_name

each_family = pytest.mark.parametrize("case", CASES.values(), ids=by_name)


def config_of(case: Case, **choice):
    return registry.find_family(case.model_type).config_class().from_dict(case.small, **choice)


def random_model(case: Case, **choice):
    return AutoBackbone.from_config(config_of(case, **choice))


def every_stage(case: Case):
    return random_model(case, out_indices=list(range(len(config_of(case).stage_names))))


def pixels_for(case: Case):
    return pixels(case.sizes[0])


def assert_equal_maps(got, requested, tolerance=0.0):
    assert len(got.feature_maps) == len(requested.feature_maps)
    for a, b in zip(got.feature_maps, requested.feature_maps, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


@pytest.fixture
def empty_is_nan():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@each_family
def test_a_model_built_by_its_class_has_sane_weights(case, empty_is_nan):
    model = type(random_model(case))(config_of(case))
    for name, tensor in model.state_dict().items():
        assert torch.isfinite(tensor).all(), f"{name} is left as memory was"
    maps = model.eval()(pixels_for(case)).feature_maps
    assert all(torch.isfinite(m).all() and m.std() > 0 for m in maps)


@each_family
def test_the_same_seed_gives_the_same_weights(case):
    config = config_of(case)
    first, again, other = (AutoBackbone.from_config(config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@each_family
def test_copies_and_pickles(case):
    model = random_model(case, out_indices=[0])
    x = pixels_for(case)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_equal_maps(twin(x), model(x))
        twin.out_indices = [-1]
        assert_equal_maps(twin(x), random_model(case)(x))


@each_family
def test_export_with_any_batch_size(case):
    # A size that no other test uses, if the family takes more than one.
    height, width = case.sizes[0]
    size = (height + 16 * (len(case.sizes) > 1), width)
    model, x = every_stage(case), pixels(size, batch=3)
    batch = {0: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(model, (pixels(size),), dynamic_shapes=(batch,), strict=False).module()
    # Tensors that were traced, or computed in inference mode, must not be cached for later callers.
    with torch.inference_mode():
        model(x)
    requested = model(x)
    sum(m.sum() for m in requested.feature_maps).backward()
    assert_equal_maps(exported(x), requested, 1e-5)


# One family for each way to depend on the size: convolutions, windows, position tables, rotary angles, relative biases.
@pytest.mark.parametrize("name", ["beit", "bit", "dinov2_with_registers", "dinov3_vit", "swin", "vitdet"])
def test_export_with_any_image_size(name):
    case = CASES[name]
    model = AutoBackbone.from_config(config_of(case, out_indices=[0, -1]))
    sides = dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC)
    exported = torch.export.export(model, (pixels(case.sizes[1]),), dynamic_shapes=(sides,), strict=False).module()
    for x in map(pixels, case.sizes):
        assert_equal_maps(exported(x), model(x), 1e-5)


def test_an_exported_model_goes_through_a_file(tmp_path):
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
    model, x = every_stage(case).train(), pixels_for(case)
    sum((m * torch.randn_like(m)).sum() for m in model(x).feature_maps).backward()
    lacking = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not lacking


@each_family
def test_state_dict_and_dtypes(case):
    model, x = random_model(case), pixels_for(case)
    twin = AutoBackbone.from_config(config_of(case), seed=5)
    twin.load_state_dict(model.state_dict())
    assert_equal_maps(twin(x), model(x))
    assert model.dtype == torch.float32 and model.device.type == "cpu"
    assert all(m.dtype == torch.float64 for m in model.double()(x.double()).feature_maps)
    assert all(m.dtype == torch.bfloat16 for m in model.bfloat16()(x.bfloat16()).feature_maps)
    assert all(p.dtype == torch.float16 for p in model.half().parameters())


@each_family
def test_saved_models_load_everywhere(case, tmp_path):
    oracle = case.build(case.small)
    load_ours(save(oracle, tmp_path / "theirs"), oracle).save_pretrained(tmp_path / "ours")
    x = pixels_for(case)
    ours = load_ours(tmp_path / "ours", oracle)
    assert_same_maps(ours, oracle, x)
    assert_same_maps(ours, load_oracle(case, tmp_path / "ours"), x)
    assert type(ours).from_pretrained(str(tmp_path / "ours")).out_features == oracle.out_features


@each_family
def test_other_stages_of_a_loaded_model(case, tmp_path):
    oracle = case.build(case.small)
    folder, x = save(oracle, tmp_path), pixels_for(case)
    requested, names = maps_of(oracle, x), oracle.stage_names
    # A stem that is the input itself has no parameters, so that nothing in it would keep the dtype.
    first = 0 if list(random_model(case, out_indices=[0]).parameters()) else 1
    model = AutoBackbone.from_pretrained(str(folder), out_indices=[first], dtype="float64")
    for chosen in ([1], [0, -1], [1], list(range(len(names)))):
        model.out_indices = chosen
        assert model.out_features == [names[i] for i in chosen]
        assert {p.dtype for p in model.parameters()} <= {torch.float64} and not model.training
        for name, got in maps_of(model, x.double()).items():
            torch.testing.assert_close(got.float(), requested[name], atol=1e-3, rtol=1e-3)
    model.out_features = names[-1:]
    assert model.out_indices == [len(names) - 1]


@each_family
def test_other_stages_keep_what_was_trained(case):
    model = random_model(case, out_indices=[0, -1]).train()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.25)
    before, x = dict(model.named_parameters()), pixels_for(case)
    requested = model.eval()(x)
    model.out_indices = [0]
    model.train().out_indices = [0, 1]
    model.out_indices = [0, -1]
    after = dict(model.named_parameters())
    assert all(after[name] is p for name, p in before.items()) and model.training
    assert_equal_maps(model.eval()(x), requested)


@each_family
def test_hidden_states(case):
    model, x = random_model(case), pixels_for(case)
    assert model(x).hidden_states is None
    states = model(x, output_hidden_states=True).hidden_states
    assert len(states) == len(model.stage_names)
    asked = AutoBackbone.from_config(config_of(case, output_hidden_states=True))
    assert all(torch.equal(a, b) for a, b in zip(asked(x).hidden_states, states, strict=True))
    assert asked(x, output_hidden_states=False).hidden_states is None
    maps, kept = asked(x, return_dict=False)
    assert len(maps) == 1 and len(kept) == len(states)


# Their MaskFormer-Swin hands over no state of its stem.
@pytest.mark.parametrize("case", [c for c in CASES.values() if c.model_type != "maskformer-swin"], ids=by_name)
def test_hidden_states_equal_the_oracle(case, tmp_path):
    oracle = case.build(case.small)
    ours, x = load_ours(save(oracle, tmp_path), oracle), pixels_for(case)
    with torch.no_grad():
        got, requested = (model(x, output_hidden_states=True).hidden_states for model in (ours, oracle))
    for a, b in zip(got, requested, strict=True):
        if a.ndim > b.ndim:  # Swin v2 and FocalNet hand over tokens there
            b = b.transpose(1, 2).reshape(a.shape)
        elif case.model_type in ("nat", "dinat"):
            b = b.permute(0, 3, 1, 2)
        assert distance(a, b) < 1e-4

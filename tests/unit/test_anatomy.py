import subprocess
import sys
from types import SimpleNamespace

import pytest

from arithloc.benchmark.api.errors import UnsupportedArchitecture
from arithloc.benchmark.models import FAMILIES, QKVLayout, anatomy_of

SUPPORTED = (
    *("gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_neox", "gptj", "llama", "mistral", "olmo", "olmo2"),
    *("phi3", "qwen2", "qwen3"),
)


def _config(model_type, **fields):
    config = SimpleNamespace(model_type=model_type, **fields)
    config.get_text_config = lambda: config
    return config


def test_every_family_has_one_row_under_its_model_type():
    assert sorted(FAMILIES) == list(SUPPORTED)
    assert all(row.model_type == name for name, row in FAMILIES.items())


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_row_has_as_many_projections_as_its_layout_says(name):
    row = FAMILIES[name]
    assert len(row.qkv) == (3 if row.layout is QKVLayout.SEPARATE else 1)


def test_an_unknown_architecture_is_refused_with_the_supported_ones_and_the_nearest():
    with pytest.raises(UnsupportedArchitecture) as caught:
        anatomy_of(_config("qwen4"))
    text = str(caught.value)
    assert all(name in text for name in SUPPORTED)
    assert "'qwen4'" in text
    assert "nearest is qwen" in text


def test_an_architecture_like_no_other_is_refused_without_a_nearest():
    with pytest.raises(UnsupportedArchitecture) as caught:
        anatomy_of(_config("t5"))
    assert "nearest" not in str(caught.value)


@pytest.mark.parametrize(
    ("model_type", "option"), [("gpt2", "add_cross_attention"), ("gemma3_text", "use_bidirectional_attention")]
)
def test_attention_that_is_not_causal_self_attention_is_refused_by_name(model_type, option):
    assert anatomy_of(_config(model_type, **{option: False})) == FAMILIES[model_type]
    with pytest.raises(UnsupportedArchitecture, match=option):
        anatomy_of(_config(model_type, **{option: True}))


@pytest.mark.parametrize("parallel", [True, False])
def test_the_configuration_decides_whether_pythia_blocks_are_parallel(parallel):
    assert anatomy_of(_config("gpt_neox", use_parallel_residual=parallel)).parallel is parallel


def test_the_registered_models_are_listed_without_the_numerical_libraries():
    code = (
        "import sys; from arithloc.benchmark.models.packaged import SOURCES; "
        "print([s.name for s in SOURCES], 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['smollm2', 'qwen-coder'] False"


def test_a_name_that_the_package_does_not_have_is_an_attribute_error():
    import arithloc.benchmark.models as package

    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = package.no_such_thing
    assert set(package.__all__) == set(package._HOMES)

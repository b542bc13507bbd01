"""RuntimeConfig: the JSON form, what is refused, and how a row's wishes lie over a provider's defaults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hud.errors import UsageError
from hud.eval.config import ComposeProject, RuntimeConfig, RuntimeGPU, RuntimeLimits, RuntimeResources, RuntimeTPU

FULL: dict[str, Any] = {
    "image": "my-env",
    "resources": {
        "cpu": 2.0,
        "memory_mb": 2048,
        "storage_mb": 512,
        "gpu": {"type": ["H100", "A100"], "count": 2},
        "os": "linux",
        "tpu": {"type": "v5e", "topology": "2x2"},
    },
    "limits": {"startup_timeout_s": 60, "run_timeout_s": 600},
}


def test_the_json_form_survives_a_round_trip() -> None:
    assert RuntimeConfig.from_dict(json.loads(json.dumps(FULL))).to_dict() == FULL


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, {}),
        ({"image": None, "limits": None}, {}),
        ({"resources": {}}, {}),
        ({"resources": {"cpu": 2}}, {"resources": {"cpu": 2.0}}),
        ({"resources": {"gpu": {"type": "H100"}}}, {"resources": {"gpu": {"type": "H100"}}}),
        ({"compose": {"document": "compose.yaml"}}, {"compose": {"document": "compose.yaml"}}),
        ({"compose": {"document": {"services": {}}}}, {"compose": {"document": {"services": {}}}}),
    ],
    ids=["empty", "nulls", "empty part", "cpu is a float", "gpu without count", "compose path", "compose inline"],
)
def test_only_fields_that_are_set_are_written(given: dict[str, Any], written: dict[str, Any]) -> None:
    assert json.dumps(RuntimeConfig.from_dict(given).to_dict()) == json.dumps(written)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"imege": "x"}, "unknown key imege"),
        ({"resources": {"cpus": 1}}, "unknown key resources.cpus"),
        ({"resources": {"gpu": {"kind": "H100"}}}, "unknown key resources.gpu.kind"),
        ({"limits": {"timeout": 1}}, "unknown key limits.timeout"),
        ({"compose": {"document": "c.yaml", "file": "x"}}, "unknown key compose.file"),
        ({"compose": {}}, "compose.document is missing"),
        ({"resources": {"tpu": {"type": "v5e"}}}, "resources.tpu.topology is missing"),
        ({"resources": {"tpu": {"type": "v5e", "topology": "large"}}}, "resources.tpu.topology is 'large'"),
        ({"image": "x", "compose": {"document": "c.yaml"}}, "image and compose exclude each other"),
        ({"image": ""}, "image is ''"),
        ({"resources": {"cpu": 0}}, "resources.cpu is 0"),
        ({"resources": {"cpu": "2"}}, "resources.cpu is '2'"),
        ({"resources": {"cpu": True}}, "resources.cpu is True"),
        ({"resources": {"cpu": float("nan")}}, "resources.cpu is nan"),
        ({"resources": {"memory_mb": 1.5}}, "resources.memory_mb is 1.5"),
        ({"resources": {"memory_mb": float("inf")}}, "resources.memory_mb is inf"),
        ({"resources": {"gpu": {"count": 0}}}, "resources.gpu.count is 0"),
        ({"resources": {"gpu": {"type": []}}}, "resources.gpu.type is an empty list"),
        ({"limits": {"run_timeout_s": -1}}, "limits.run_timeout_s is -1"),
        ({"limits": 5}, "limits is 5, not an object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_config_is_refused_by_the_path_of_its_field(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        RuntimeConfig.from_dict(given)
    assert message in raised.value.message


def test_an_unknown_key_brings_the_nearest_known_one() -> None:
    with pytest.raises(UsageError) as raised:
        RuntimeConfig.from_dict({"resources": {"memory": 1}})
    assert raised.value.hint == "did you mean resources.memory_mb?"


def test_parts_may_be_given_in_their_json_form() -> None:
    config = RuntimeConfig(resources={"gpu": {"type": ["H100"]}})  # type: ignore[arg-type]
    assert config.resources == RuntimeResources(gpu=RuntimeGPU(type=("H100",)))


def test_a_gpu_lists_the_types_that_will_do() -> None:
    assert RuntimeGPU().types == ()
    assert RuntimeGPU(type="H100").types == ("H100",)
    assert RuntimeGPU(type=("H100", "A100")).types == ("H100", "A100")


def test_a_row_overrides_its_provider_field_by_field() -> None:
    provider = RuntimeConfig(
        image="base",
        resources=RuntimeResources(cpu=1, memory_mb=512, gpu=RuntimeGPU(type="H100", count=4)),
        limits=RuntimeLimits(startup_timeout_s=10),
    )
    row = RuntimeConfig(
        resources=RuntimeResources(cpu=2, gpu=RuntimeGPU(type="A100")), limits=RuntimeLimits(run_timeout_s=60)
    )
    assert RuntimeConfig.merge(provider, row) == RuntimeConfig(
        image="base",
        resources=RuntimeResources(cpu=2, memory_mb=512, gpu=RuntimeGPU(type="A100")),
        limits=RuntimeLimits(startup_timeout_s=10, run_timeout_s=60),
    )


def test_choosing_an_image_drops_an_inherited_compose_project_and_the_other_way_round() -> None:
    image = RuntimeConfig(image="my-env")
    compose = RuntimeConfig(compose=ComposeProject(document="compose.yaml"))
    assert RuntimeConfig.merge(compose, image) == image
    assert RuntimeConfig.merge(image, compose) == compose


def test_merging_with_nothing_gives_the_other_side() -> None:
    config = RuntimeConfig.from_dict(FULL)
    assert RuntimeConfig.merge(config, None) == RuntimeConfig.merge(None, config) == config
    assert RuntimeConfig.merge(None, None) == RuntimeConfig()


def test_a_provider_refuses_by_name_what_it_cannot_honour() -> None:
    config = RuntimeConfig(
        image="my-env", resources=RuntimeResources(cpu=1, os="windows", tpu=RuntimeTPU(type="v5e", topology="2x2"))
    )
    config.refuse_unsupported("Somewhere", config.fields_set())
    with pytest.raises(UsageError) as raised:
        config.refuse_unsupported("Somewhere", {"image", "resources.cpu"})
    assert raised.value.message == ("Somewhere cannot honour runtime_config.resources.os, runtime_config.resources.tpu")

"""rezoo's own architectures, datasets and recipes keep the contract of plugins."""

from __future__ import annotations

import pytest

from rezoo import registry
from rezoo.recipes import list_recipes
from rezoo.testing import check_recipe
from rezoo.testing.contract import PASSED, import_cost, name_of, registration, run
from rezoo.testing.dataset_checks import licence, metadata
from rezoo.testing.network_uses import other_backend
from rezoo.testing.subjects import CHECKS, subject_at

# one of each file in rezoo.models that has a family
FAMILIES = (
    *("test_resnet", "resnet10t", "resnet50_v1", "resnet20", "wide_resnet8", "plain20", "vgg16_bn"),
    *("resnetv2_18", "resnetv2_50x1_bit", "preact_resnet110", "resnext50_32x4d"),
    *("seresnext26d_32x4d", "ecaresnet26t", "resnetblur18", "resnetrs50", "regnetx_002"),
    *("regnety_002", "res2net50_48w_2s", "resnest14d", "skresnet18"),
)
# without a process of its own for JAX, on which tests/test_parity.py runs
IN_CI = [check for check in CHECKS["architecture"] if check is not other_backend]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    entry = registry.architectures.find("test_resnet")
    return subject_at("architecture", entry, tmp_path_factory.mktemp("network"))


@pytest.mark.ci
@pytest.mark.parametrize("check", IN_CI, ids=name_of)
def test_contract_of_a_network(network, check):
    result = run(check, network)
    assert result.outcome == PASSED, result


@pytest.mark.ci
@pytest.mark.rezoo("digits")
def test_contract_of_data(rezoo_check):
    rezoo_check()


@pytest.mark.slow
@pytest.mark.rezoo(*FAMILIES)
def test_contract_of_a_family(rezoo_check):
    rezoo_check()


@pytest.mark.parametrize("name", ["cifar10", "digits", "imagenet2012", "oxford_iiit_pet"])
def test_datasets_describe_themselves(name, tmp_path):
    entry = registry.datasets.find(name)
    data = subject_at("dataset", entry, tmp_path)
    for check in (registration, metadata, licence):
        result = run(check, data)
        assert result.outcome == PASSED, result


@pytest.mark.parametrize("name", list_recipes())
def test_contract_of_a_recipe(name):
    check_recipe(name)


def test_families_load_quickly(tmp_path):
    entry = registry.architectures.find("regnety_1280")
    result = run(import_cost, subject_at("architecture", entry, tmp_path))
    assert result.outcome == PASSED, result

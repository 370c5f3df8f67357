"""Plain networks, the baselines without shortcuts of arXiv:1512.03385.

They have the layers of the ResNets of the same depth and no sum at the end of a block: section 3.3,
"Plain Network", and section 4.2 for images of 32 pixels. Without shortcuts, deeper networks are
harder to train.

| name    | classes | pixels | parameters |          MACs |
|---------|---------|--------|------------|---------------|
| plain18 |    1000 |    224 | 11,515,688 | 1,794,805,760 |
| plain34 |    1000 |    224 | 21,623,848 | 3,644,493,824 |
| plain20 |      10 |     32 |    269,722 |    40,551,040 |
| plain32 |      10 |     32 |    464,154 |    68,862,592 |
| plain44 |      10 |     32 |    658,586 |    97,174,144 |
| plain56 |      10 |     32 |    853,018 |   125,485,696 |
"""

from __future__ import annotations

from dataclasses import replace

from rezoo.models import resnet, resnet_cifar
from rezoo.specs import ModelSpec


def _without_shortcuts(spec: ModelSpec, *, section: str, params: int, macs: int) -> ModelSpec:
    return replace(
        spec,
        name=spec.name.replace("resnet", "plain"),
        config={**spec.config, "shortcut": "none"},
        family="plain",
        summary=f"{spec.summary}, no shortcuts",
        source=f"He et al. 2015, arXiv:1512.03385, section {section}",
        params=params,
        macs=macs,
        in_timm=False,
    )


plain18 = _without_shortcuts(resnet.resnet18, section="3.3", params=11_515_688, macs=1_794_805_760)
plain34 = _without_shortcuts(resnet.resnet34, section="3.3", params=21_623_848, macs=3_644_493_824)
plain20, plain32, plain44, plain56 = (
    _without_shortcuts(spec, section="4.2", params=spec.params or 0, macs=spec.macs or 0)
    for spec in (
        resnet_cifar.resnet20,
        resnet_cifar.resnet32,
        resnet_cifar.resnet44,
        resnet_cifar.resnet56,
    )
)

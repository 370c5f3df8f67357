"""Names of timm 1.0.31: residual networks that rezoo does not build, and names of the past.

Loads without Keras.
"""

from __future__ import annotations

_FAMILIES = {
    "ByobNet": (
        "bat_resnext26ts eca_resnet33ts eca_resnext26ts gcresnet33ts gcresnet50t "
        "gcresnext26ts gcresnext50ts lambda_resnet26rpt_256 lambda_resnet26t "
        "lambda_resnet50ts resnet32ts resnet33ts resnet50_mlp resnet51q resnet61q resnext26ts "
        "seresnet33ts seresnext26ts"
    ),
    "CLIP's ResNet": (
        "resnet50_clip resnet50_clip_gap resnet50x4_clip resnet50x4_clip_gap resnet50x16_clip "
        "resnet50x16_clip_gap resnet50x64_clip resnet50x64_clip_gap resnet101_clip "
        "resnet101_clip_gap"
    ),
    "CSPNet": "cspresnet50 cspresnet50d cspresnet50w cspresnext50",
    "normalizer-free ResNet": (
        "nf_ecaresnet26 nf_ecaresnet50 nf_ecaresnet101 nf_resnet26 nf_resnet50 nf_resnet101 "
        "nf_seresnet26 nf_seresnet50 nf_seresnet101"
    ),
    "pre-activation ResNet": "resnetv2_50d_frn",
    "pruned ECA-ResNet": "ecaresnet50d_pruned ecaresnet101d_pruned",
    "RegNet": "regnety_040_sgn regnety_2560",
    "RegNetV": "regnetv_040 regnetv_064",
    "RegNetZ": (
        "regnetz_005 regnetz_040 regnetz_040_h regnetz_b16 regnetz_b16_evos regnetz_c16 "
        "regnetz_c16_evos regnetz_d8 regnetz_d8_evos regnetz_d32 regnetz_e8"
    ),
    "RepVGG": (
        "repvgg_a0 repvgg_a1 repvgg_a2 repvgg_b0 repvgg_b1 repvgg_b1g4 repvgg_b2 repvgg_b2g4 "
        "repvgg_b3 repvgg_b3g4 repvgg_d2se"
    ),
    "legacy SENet": (
        "legacy_senet154 legacy_seresnet18 legacy_seresnet34 legacy_seresnet50 "
        "legacy_seresnet101 legacy_seresnet152 legacy_seresnext26_32x4d "
        "legacy_seresnext50_32x4d legacy_seresnext101_32x4d"
    ),
    "TResNet": "tresnet_l tresnet_m tresnet_v2_l tresnet_xl",
    "VGG": "vgg11 vgg11_bn vgg13 vgg13_bn",
}
NOT_BUILT = {name: family for family, names in _FAMILIES.items() for name in names.split()}
"""Architecture of timm that rezoo does not have → its family."""

OLD_NAMES = {
    "tv_resnet34": "resnet34.tv_in1k",
    "tv_resnet50": "resnet50.tv_in1k",
    "tv_resnet101": "resnet101.tv_in1k",
    "tv_resnet152": "resnet152.tv_in1k",
    "tv_resnext50_32x4d": "resnext50_32x4d.tv_in1k",
    "ig_resnext101_32x8d": "resnext101_32x8d.fb_wsl_ig1b_ft_in1k",
    "ig_resnext101_32x16d": "resnext101_32x8d.fb_wsl_ig1b_ft_in1k",
    "ig_resnext101_32x32d": "resnext101_32x8d.fb_wsl_ig1b_ft_in1k",
    "ig_resnext101_32x48d": "resnext101_32x8d.fb_wsl_ig1b_ft_in1k",
    "ssl_resnet18": "resnet18.fb_ssl_yfcc100m_ft_in1k",
    "ssl_resnet50": "resnet50.fb_ssl_yfcc100m_ft_in1k",
    "ssl_resnext50_32x4d": "resnext50_32x4d.fb_ssl_yfcc100m_ft_in1k",
    "ssl_resnext101_32x4d": "resnext101_32x4d.fb_ssl_yfcc100m_ft_in1k",
    "ssl_resnext101_32x8d": "resnext101_32x8d.fb_ssl_yfcc100m_ft_in1k",
    "ssl_resnext101_32x16d": "resnext101_32x16d.fb_ssl_yfcc100m_ft_in1k",
    "swsl_resnet18": "resnet18.fb_swsl_ig1b_ft_in1k",
    "swsl_resnet50": "resnet50.fb_swsl_ig1b_ft_in1k",
    "swsl_resnext50_32x4d": "resnext50_32x4d.fb_swsl_ig1b_ft_in1k",
    "swsl_resnext101_32x4d": "resnext101_32x4d.fb_swsl_ig1b_ft_in1k",
    "swsl_resnext101_32x8d": "resnext101_32x8d.fb_swsl_ig1b_ft_in1k",
    "swsl_resnext101_32x16d": "resnext101_32x16d.fb_swsl_ig1b_ft_in1k",
    "gluon_resnet18_v1b": "resnet18.gluon_in1k",
    "gluon_resnet34_v1b": "resnet34.gluon_in1k",
    "gluon_resnet50_v1b": "resnet50.gluon_in1k",
    "gluon_resnet101_v1b": "resnet101.gluon_in1k",
    "gluon_resnet152_v1b": "resnet152.gluon_in1k",
    "gluon_resnet50_v1c": "resnet50c.gluon_in1k",
    "gluon_resnet101_v1c": "resnet101c.gluon_in1k",
    "gluon_resnet152_v1c": "resnet152c.gluon_in1k",
    "gluon_resnet50_v1d": "resnet50d.gluon_in1k",
    "gluon_resnet101_v1d": "resnet101d.gluon_in1k",
    "gluon_resnet152_v1d": "resnet152d.gluon_in1k",
    "gluon_resnet50_v1s": "resnet50s.gluon_in1k",
    "gluon_resnet101_v1s": "resnet101s.gluon_in1k",
    "gluon_resnet152_v1s": "resnet152s.gluon_in1k",
    "gluon_resnext50_32x4d": "resnext50_32x4d.gluon_in1k",
    "gluon_resnext101_32x4d": "resnext101_32x4d.gluon_in1k",
    "gluon_resnext101_64x4d": "resnext101_64x4d.gluon_in1k",
    "gluon_seresnext50_32x4d": "seresnext50_32x4d.gluon_in1k",
    "gluon_seresnext101_32x4d": "seresnext101_32x4d.gluon_in1k",
    "gluon_seresnext101_64x4d": "seresnext101_64x4d.gluon_in1k",
    "gluon_senet154": "senet154.gluon_in1k",
}
"""Old name → the name that timm has given to the same weights, `arch.tag`."""

"""Secrets are found in what is published, and named by kind and line; other texts pass."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from rezoo.publishing.secrets import find_secret

PART = "a1B2c3D4e5" * 9  # put together here, so that no scanner takes this file for a leak
SECRETS = {
    "hf_" + PART[:34]: "a token of the Hub",
    "hf_oauth_eyJ" + PART[:30] + ".x-y_z": "a token of the Hub",
    "hf_jwt_eyJ" + PART[:30]: "a token of the Hub",
    "ghp_" + PART[:36]: "a token of GitHub",
    "gho_" + PART[:36]: "a token of GitHub",
    "ghs_" + PART[:36]: "a token of GitHub",
    "github_pat_" + PART[:22] + "_" + PART[:59]: "a token of GitHub",
    "AKIA" + "IOSFODNN7EXAMPLE".replace("8", "7"): "a key of AWS",
    "ASIA" + "IOSFODNN7EXAMPLE": "a key of AWS",
    "sk-" + PART[:48]: "an API key",
    "sk-proj-" + PART[:20] + "-_" + PART[:20]: "an API key",
    "sk-ant-api03-" + PART[:40] + "-" + PART[:6] + "AA": "an API key",
    "sk_live_" + PART[:24]: "an API key",
    "glpat-" + PART[:20]: "a token of GitLab",
    "xoxb-" + "123456789012-" + PART[:24]: "a token of Slack",
    "AIza" + PART[:35]: "a key of Google",
    "pypi-AgEIcHlwaS5vcmc" + PART[:80]: "a token of PyPI",
    "npm_" + PART[:36]: "a token of npm",
    "eyJ" + PART[:20] + ".eyJ" + PART[:30] + "." + PART[:43]: "a JSON web token",
    "https://me:" + "hunter22@example.com/x.git": "a password in an address",
    "redis://:" + "p%40ss@10.0.0.1:6379/0": "a password in an address",
    "-----BEGIN " + "OPENSSH PRIVATE KEY-----": "a private key",
    "-----BEGIN " + "PRIVATE KEY-----": "a private key",
}


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:12])
def test_known_forms(secret):
    kind = SECRETS[secret]
    for name, text in {
        "history.csv": f"epoch,loss\n1,{secret}\n",
        "recipe.toml": f'epochs = 1\nsummary = "{secret}"\n',
        "metrics.json": "{\n" + json.dumps({"x": f"PASSWORD=\n{secret}\n"})[1:],
        "report.html": f"<p>\n<b>{secret}</b>",
        "README.md": f"# Net\n{secret}, ours",
    }.items():
        found = find_secret(name, text.encode())
        assert found, name
        assert (found.kind, found.place) == (kind, "line 2")
        assert secret not in repr(found)


def test_cards_escape_punctuation():
    from rezoo.utils.pages import plain

    for secret, kind in SECRETS.items():
        found = find_secret("README.md", f"# Net\n\n- {plain(secret)}\n".encode())
        assert found, secret
        assert (found.kind, found.place) == (kind, "line 3")


def test_own_token_of_any_form():
    token = "an-own-token-in-a-form-of-its-own"
    assert find_secret("history.csv", token.encode()) is None
    found = find_secret("history.csv", token.encode(), token=token)
    assert found.kind == "your token of the Hub"


def test_headers_of_tensors_are_searched():
    values = {"a": np.zeros(3, np.float32)}
    address = "https://me:" + "hunter22@example.com"
    content = safetensors.numpy.save(values, {"images": address})
    assert find_secret("reference.safetensors", content).kind == "a password in an address"
    key = np.frombuffer(b"-----BEGIN RSA PRIVATE " + b"KEY-----", np.uint8)
    content = safetensors.numpy.save({"a": key})
    assert find_secret("model.safetensors", content).kind == "a private key"


HARMLESS = """
hf_hub_download(repo_id), hf_transfer, hf://owner/name, HF_TOKEN, ghp_, github_pat_, sk-learn,
sk-learn-pipelines-for-everybody-2024, task-specific-heads-of-networks-20240101, risk-1234,
https://user:<password>@host, https://user:$PASSWORD@host, https://user:***@host,
https://example.com:8080/a@b, https://user@example.com, git@github.com:owner/repo.git,
http://www.w3.org/2000/svg, AKIA, AIza, eyJ, "12:30@noon", -----BEGIN CERTIFICATE-----,
sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, pypi-publish, npm_config
"""


def test_normal_texts_pass():
    assert find_secret("README.md", HARMLESS.encode()) is None
    for page in [*Path(__file__).parents[1].glob("docs/**/*.md"), Path(__file__)]:
        assert find_secret(page.name, page.read_bytes()) is None, page


def test_pictures_and_tensors_pass():
    """Random bytes contain the short beginnings of tokens by chance, tokens never."""
    content = random.Random(0).randbytes(3_000_000)
    assert find_secret("model.safetensors", content) is None
    # a picture whose base64 begins like a key of Google or of AWS
    for start in (b"AIza", b"/AKIA", b"+AIza", b"AAAAAKIA", b"AAAAASIA"):
        text = start + b"ABCDEFGHIJKLMNOP" * 4
        picture = b'<img src="data:image/jpeg;base64,' + text + base64.b64encode(content) + b'">'
        assert find_secret("report.html", picture) is None

"""The shells' completion: names, files, and no TensorFlow."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ci


@pytest.fixture
def script(tmp_path):
    """The script that pip writes; the variable for completions has its name."""
    path = tmp_path / "bin" / "rezoo"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\nfrom rezoo.cli.main import main\n\nmain()\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def offered(script, tmp_path):
    """What `rezoo` answers to the shell for a line: pairs of a kind and a value."""

    def answer(line: str) -> set[str]:
        asked = {"COMP_WORDS": line, "COMP_CWORD": line.rpartition(" ")[2]}
        asked |= {"_REZOO_COMPLETE": "fish_complete", "PYTHONPROFILEIMPORTTIME": "1"}
        env = {**os.environ, **asked}
        done = subprocess.run([script], env=env, capture_output=True, text=True, check=True)
        imported = {*done.stderr.replace("|", " ").split()}
        assert "rezoo.cli.main" in imported
        assert not {"tensorflow", "keras", "numpy"} & imported
        return {line.split("\t")[0] for line in done.stdout.splitlines()}

    return answer


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("rezoo train resnetv2_15", {"plain,resnetv2_152", "plain,resnetv2_152d"}),
        ("rezoo predict resnet50.a1", {"plain,resnet50.a1_in1k", "plain,resnet50.a1h_in1k"}),
        ("rezoo eval --unknown ox", {"plain,oxford_iiit_pet"}),
        ("rezoo train --recipe ffcv_r18_1", {"plain,ffcv_r18_16"}),
    ],
)
def test_names_that_a_shell_offers(offered, line, wanted):
    found = offered(line)
    assert wanted <= found
    last = line.rpartition(" ")[2]
    assert f"file,{last}" in found  # else the shell completes files
    assert all(value.partition(",")[2].startswith(last) for value in found)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_the_name_of_an_architecture(script, tmp_path):
    lines = (
        f'PATH="{script.parent}:$PATH"',
        'eval "$(_REZOO_COMPLETE=bash_source rezoo)"',
        "COMP_WORDS=(rezoo info wide_resnet10) COMP_CWORD=2",
        "_rezoo_completion rezoo",
        'echo "${COMPREPLY[@]}"',
    )
    command = ["bash", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["wide_resnet101_2"], done.stderr

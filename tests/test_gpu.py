"""What differs on a GPU, with the device's part played on a CPU."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rezoo.evaluation.reference_batch import drawn_pictures, write_reference
from rezoo.sources.references import resolve


def computes_in_tensor_float_32():
    """Return whether a GPU would compute products of float32 in TensorFloat-32 now."""
    if keras.config.backend() == "jax":
        import jax

        return jax.config.jax_default_matmul_precision != "highest"
    return tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.backend
def test_a_reference_batch_is_recorded_in_full_precision(finished_run, tmp_path):
    source = resolve(finished_run)
    found = []

    def forward(inputs):
        found.append(computes_in_tensor_float_32())
        return np.zeros((len(inputs), source.config.num_classes), np.float32)

    pictures = drawn_pictures(source.config.preprocessing.for_test())
    assert computes_in_tensor_float_32()
    write_reference(tmp_path, source, pictures, "drawn pictures", forward=forward)
    assert found == [False]
    assert computes_in_tensor_float_32()

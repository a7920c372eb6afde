"""What tensor types cost in a loaded model: exchanged matrices, errors, losses."""

import numpy as np
import pytest

import gguf
from jlocal import Embedder
from jlocal.errors import ModelError
from jlocal.gguf.header import read_header
from jlocal.gguf.imatrix import read
from jlocal.llama.fake_quantizer import FakeQuantizer
from jlocal.llama.quantize import stored_types
from jlocal.models.profile import read_profile
from jlocal_convert.quantization.mix.sensitivity import (
    column_importance,
    measure,
    offers,
    tensor_bytes,
)
from jlocal_convert.quantization.run import Options, quantize
from support.gguf_files import GGUF

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def narrow(converted):
    """An F16 file without super-blocks."""
    return converted("qwen3", "retrieval", "F16")


def rows_of(file, name):
    """A matrix of a file as float32."""
    whole = GGUF(file)
    (tensor,) = (tensor for tensor in whole.tensors if tensor[0] == name)
    return gguf.quants.dequantize(whole.rows(*tensor[1:]), tensor[2]).reshape(tensor[1])


def test_errors_are_those_of_written_files(few, calibration_file, tmp_path):
    """What is measured in memory is what llama.cpp writes and reads, to the last bit."""
    matrix = tmp_path / "m.gguf"
    (file,) = quantize(
        few,
        types=["Q8_0"],
        output=tmp_path / "q.gguf",
        options=Options(tensor_types=(("ffn_down", "IQ3_S"), ("ffn_up", "Q4_K"))),
        calibration=[calibration_file],
        save_imatrix=matrix,
    )
    importance = column_importance(read(matrix))
    with FakeQuantizer(read_profile(few), threads=2) as quantizer:
        for name, kind in (
            ("blk.1.ffn_down.weight", "IQ3_S"),
            ("blk.0.ffn_up.weight", "Q4_K"),
            ("blk.0.attn_q.weight", "Q8_0"),
        ):
            columns = importance[name]
            weights = columns.astype(np.float64)
            difference = rows_of(file, name).astype(np.float64) - rows_of(few, name)
            expected = (np.square(difference) * weights).sum()
            assert quantizer.error(name, kind, columns) == pytest.approx(expected, rel=1e-5), name
            some = quantizer.error(name, kind, columns, part=4)
            assert some == pytest.approx(expected, rel=0.2)


def test_exchange_does_what_a_file_would(few, calibration_file):
    """And puts everything back."""
    names = {"blk.0.attn_v.weight", "blk.1.ffn_gate.weight", "token_embd.weight"}
    with FakeQuantizer(read_profile(few), threads=2) as quantizer:
        assert names <= quantizer.shapes.keys()
        assert len(quantizer.shapes) == 15
        assert quantizer.shapes["blk.1.ffn_gate.weight"] == (512, 256)
        sequences = [
            quantizer.tokens(text) for text in calibration_file.read_text().split("\n")[:8]
        ]
        before = quantizer.vectors(sequences)
        for name in names:
            with quantizer.applied(name, "Q4_0", None) as error:
                assert error == pytest.approx(quantizer.error(name, "Q4_0", None))
                assert np.abs(quantizer.vectors(sequences) - before).max() > 1e-4
            assert np.array_equal(quantizer.vectors(sequences), before), name
    with Embedder(few, compute_type="stored") as model:
        expected = model.encode(calibration_file.read_text().split("\n")[:8], prompt="")
    assert (before * expected).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_exchanged_weights_are_those_of_a_widened_file(few, calibration_file, tmp_path):
    """The vectors with one matrix exchanged are those of a file that holds what was exchanged."""
    name = "blk.1.attn_v.weight"
    data = bytearray(few.read_bytes())
    header = read_header(few)
    (tensor,) = (tensor for tensor in header.tensors if tensor.name == name)
    (file,) = quantize(
        few,
        types=["Q8_0"],
        output=tmp_path / "q.gguf",
        options=Options(tensor_types=((name, "Q3_K"),)),
    )
    values = rows_of(file, name).astype(np.float16).tobytes()
    start = header.data_start + tensor.offset
    data[start : start + len(values)] = values
    changed = tmp_path / "changed.gguf"
    changed.write_bytes(data)
    lines = calibration_file.read_text().split("\n")[:8]
    with FakeQuantizer(read_profile(few), threads=2) as quantizer:
        sequences = [quantizer.tokens(line) for line in lines]
        with quantizer.applied(name, "Q3_K", None):
            found = quantizer.vectors(sequences)
    with FakeQuantizer(read_profile(changed), threads=2) as other:
        assert np.array_equal(found, other.vectors(sequences))


@pytest.mark.parametrize("backbone", ["qwen3", "eurobert"])
def test_scaled_losses_are_near_measured_ones(backbone, converted, calibration_file):
    """The one type that is measured tells of the others."""
    file = converted(backbone, "retrieval", "F16")
    stored = stored_types(read_header(file))
    with FakeQuantizer(read_profile(file), threads=2) as quantizer:
        sequences = [
            quantizer.tokens(text) for text in calibration_file.read_text().split("\n")[:20]
        ]
        choices = measure(quantizer, sequences, {}, stored, offers(quantizer.shapes, stored, ()))
        assert choices.keys() == quantizer.shapes.keys()
        before = quantizer.vectors(sequences)
        for name in list(choices)[:6]:
            losses = {choice.tensor_type: choice.loss for choice in choices[name]}
            assert losses["F16"] == 0
            # An odd number of blocks of 32: no super-block fits.
            assert losses.keys() == {"F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "IQ4_NL", "Q4_0"}
            for kind in ("Q5_0", "Q4_1"):
                with quantizer.applied(name, kind, None):
                    after = quantizer.vectors(sequences)
                measured = np.square(after - before).sum(axis=1).mean() / 2
                assert losses[kind] == pytest.approx(measured, rel=0.5), (name, kind)


def test_types_without_importance(few, calibration_file):
    """What llama.cpp would abort with is not offered."""
    stored = stored_types(read_header(few))
    with FakeQuantizer(read_profile(few), threads=2) as quantizer:
        sequences = [quantizer.tokens("a text")]
        kinds = ("IQ2_XXS", "IQ3_XXS", "Q4_K")
        offered = offers(quantizer.shapes, stored, (), kinds)
        choices = measure(quantizer, sequences, {}, stored, offered)
    assert [c.tensor_type for c in choices["token_embd.weight"]] == ["IQ3_XXS", "Q4_K"]
    assert {tuple(c.tensor_type for c in choices[n]) for n in choices if "blk" in n} == {("Q4_K",)}


def test_sizes_are_those_of_files(narrow):
    header = read_header(narrow)
    kinds = stored_types(header)
    offsets = sorted(tensor.offset for tensor in header.tensors)
    for tensor in header.tensors:
        following = offsets.index(tensor.offset) + 1
        end = offsets[following] if following < len(offsets) else None
        if end:
            assert tensor_bytes(kinds[tensor.name], tensor.shape[::-1]) == end - tensor.offset


def test_weights_that_no_type_holds(narrow, tmp_path):
    header = read_header(narrow)
    (tensor,) = (tensor for tensor in header.tensors if tensor.name == "blk.0.attn_q.weight")
    for value in (b"\x00\x7c", b"\x00\x7e"):  # infinity and NaN
        data = bytearray(narrow.read_bytes())
        start = header.data_start + tensor.offset
        data[start : start + 2] = value
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(data)
        with FakeQuantizer(read_profile(broken), threads=1) as quantizer:
            with pytest.raises(ModelError, match=r"attn_q\.weight .* not finite"):
                quantizer.error("blk.0.attn_q.weight", "Q4_0", None)
            with (
                pytest.raises(ModelError, match="not finite"),
                quantizer.applied("blk.0.attn_q.weight", "Q4_0", None),
            ):
                pass


def test_importance_out_of_proportion(narrow):
    with FakeQuantizer(read_profile(narrow), threads=1) as quantizer:
        for value in (1e30, np.inf, np.nan, -1):
            columns = np.full(64, value, np.float32)
            with pytest.raises(ModelError, match=r"must lie between 0 and 1e\+20"):
                quantizer.error("blk.0.attn_q.weight", "Q4_0", columns)

"""The table of GGUF's types: as gguf and llama.cpp have them."""

import llama_cpp.llama_cpp as api
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from jlocal.gguf import types
from jlocal.llama.library import ggml

TABLE = [*types._SUPPORTED, *types._UNSUPPORTED]
# What llama.cpp keeps between two operations, and no file has.
IN_NO_FILE = {"Q8_1", "Q8_K"}


def test_tensor_types_are_those_of_gguf():
    known = {type.name: (type.number, type.block_size, type.block_bytes) for type in TABLE}
    assert len(known) == len(TABLE)
    for member in GGMLQuantizationType:
        if member.name not in IN_NO_FILE:
            assert known[member.name] == (member.value, *GGML_QUANT_SIZES[member])
            assert types.tensor_type_name(member.value) == member.name


def test_file_types_are_those_of_gguf():
    names = {
        member.value: member.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        for member in LlamaFileType
        if member is not LlamaFileType.GUESSED
    }
    assert {number: types.file_type_name(number) for number in names} == names
    assert set(names.values()) <= set(types.KNOWN_FILE_TYPES)
    assert len(set(types.KNOWN_FILE_TYPES)) == len(types.KNOWN_FILE_TYPES)
    assert types.file_type_name(1024) is types.file_type_name(None) is None
    assert types.tensor_type_name(9999) is None


@pytest.mark.parametrize("type", TABLE, ids=lambda type: type.name)
def test_llama_cpp_has_the_same_blocks(type):
    assert ggml.ggml_type_name(type.number).decode().upper() == type.name
    assert ggml.ggml_blck_size(type.number) == type.block_size
    assert ggml.ggml_type_size(type.number) == type.block_bytes


def test_llama_cpp_has_the_same_file_types():
    prefix = "LLAMA_FTYPE_"
    found = {
        name.removeprefix(prefix).removeprefix("MOSTLY_").removeprefix("ALL_"): getattr(api, name)
        for name in dir(api)
        if name.startswith(prefix)
    }
    del found["GUESSED"]
    assert {name: n for type in TABLE for name, n in type.file_types.items()} == found


def test_sizes():
    assert types.TENSOR_TYPES["Q4_K"].nbytes((3, 512)) == 3 * 2 * 144
    assert types.F16.nbytes((5,)) == 10
    assert types.TENSOR_TYPES["Q8_0"].bytes_per_value == 34 / 32

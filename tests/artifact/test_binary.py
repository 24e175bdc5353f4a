"""What a binary is by its first bytes, and what it is once all of it was read."""

from __future__ import annotations

import pytest

from tests.wasm import binaries as b
from wasmhold.artifact import WasiVersion, WasmBinaryInfo, binary_info, detect_wasi_version
from wasmhold.oci.errors import WasmInvalid
from wasmhold.testing.covers import covers
from wasmhold.wasm import is_wasm

PREVIEW1, PREVIEW2, UNKNOWN = WasiVersion.Preview1, WasiVersion.Preview2, WasiVersion.Unknown
CORE = b.MODULE
TAG = b.section(13, b"\0")
TYPES = bytes.fromhex("0104016000 00")
WASI = CORE + b.section(2, b.vector(b.imported("wasi_snapshot_preview1", "f", b"\x00\x00")))
OLDER = CORE + b.section(2, b.vector(b.imported("wasi_unstable", "f", b"\x00\x00")))

# fmt: off
BYTES = [
    # bytes,                                     version,   what the whole of it is
    (CORE,                                       PREVIEW1,  (False, 1, 0, 1)),
    (CORE + TYPES,                               PREVIEW1,  (False, 1, 0, 1)),
    (CORE + b.custom("component-type:foo"),      PREVIEW1,  (False, 1, 0, 1)),
    (CORE + TAG,                                 PREVIEW1,  (False, 1, 0, 1)),
    (b.COMPONENT,                                PREVIEW2,  (True, 13, 1, 65549)),
    (b.WIT,                                      PREVIEW2,  (True, 13, 1, 65549)),
    (bytes.fromhex("0061736d 0d000000 00"),      UNKNOWN,   "version 13 of layer 0"),
    (bytes.fromhex("0061736d 0d000100 01"),      PREVIEW2,  "ends inside of section 1 (byte 9)"),
    (bytes.fromhex("0061736d 00000000 00"),      UNKNOWN,   "version 0 of layer 0"),
    (bytes.fromhex("0061736d 00000000"),         UNKNOWN,   "version 0 of layer 0"),
    (bytes.fromhex("0061736d 02000000 01"),      UNKNOWN,   "version 2 of layer 0"),
    (bytes.fromhex("0061736d 0c000100"),         PREVIEW2,  "version 12 of layer 1"),
    (bytes.fromhex("0061736d 01000200"),         UNKNOWN,   "version 1 of layer 2"),
    (CORE[:7],                                   UNKNOWN,   "only 7 bytes"),
    (b"",                                        UNKNOWN,   "only 0 bytes"),
    (b"\x7fELF\x02\x01\x01\0",                   UNKNOWN,   "starts with 7f 45 4c 46"),
    (CORE + b"\x01\x10",                         PREVIEW1,  "which has 16 bytes from byte 10 on"),
]
# fmt: on


@covers("ZL-630", "ZL-631", "ZL-632", "ZL-634")
@pytest.mark.parametrize(("content", "version", "whole"), BYTES)
def test_bytes(content, version, whole):
    assert detect_wasi_version(content) is version
    assert detect_wasi_version(content[:8]) is version
    assert detect_wasi_version(memoryview(content + b"more")) is version or len(content) < 8
    if isinstance(whole, str):
        with pytest.raises(WasmInvalid) as raised:
            binary_info(content)
        assert whole in str(raised.value)
        assert 0 <= raised.value.offset <= len(content)
    else:
        info = binary_info(content)
        assert (info.is_component, info.binary_version, info.layer, info.preamble) == whole
        assert (info.wasi_version, info.size) == (version, len(content))


@covers("ZL-631")
def test_a_module_of_preview_1_need_not_import_wasi():
    assert [binary_info(of).imports_wasi for of in (CORE, WASI, OLDER, b.EXTERNS)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert [binary_info(of).wasi_release for of in (WASI, b.EXTERNS)] == [None, "0.2.0"]


@covers("ZL-634")
def test_all_of_what_a_binary_says():
    assert binary_info(b.EXTERNS) == WasmBinaryInfo(
        PREVIEW2, True, 13, 1, 65549, len(b.EXTERNS), False, "0.2.0"
    )


@covers("ZL-633")
def test_the_magic_is_enough():
    for content in (CORE, b.COMPONENT, b"\0asm", bytearray(b"\0asm...."), memoryview(b"\0asm")):
        assert is_wasm(content)
    for content in (b"", b"\0as", b"\0ASM", b" \0asm"):
        assert not is_wasm(content)

"""A hub that lies: nothing is written outside the cache, nothing is waited for or read for ever."""

from __future__ import annotations

import gzip
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from jlocal.errors import HubError
from jlocal.models import hub
from jlocal.models.cache import is_safe
from jlocal.models.catalogue import parse
from jlocal.models.listing import read_listing
from jlocal_convert.checkpoint.download import locate as locate_checkpoint
from support.gguf_files import placeholder
from support.hub import Faults, serve

NAME, FILE = "somebody/embedder", "model-Q8_0.gguf"
CONFIG = "somebody/checkpoint"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hostile")
    (root / "gguf").mkdir()
    placeholder(root / "gguf" / FILE)
    (root / "checkpoint").mkdir()
    (root / "checkpoint" / "config.json").write_text("{}")
    (root / "checkpoint" / "README.md").write_text("# Card")
    return {NAME: root / "gguf", CONFIG: root / "checkpoint"}


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def cache(repositories, faults, tmp_path, monkeypatch) -> Iterator[Path]:
    """Serve the repositories; the folder is deep, and has nothing else around it."""
    folder = tmp_path / "a" / "b" / "c" / "d" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve(repositories, faults) as (address, _):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield folder


def pull() -> Path:
    return hub.download(hub.locate(parse(NAME))).path


def written(folder: Path) -> list[str]:
    """List the files below a folder, locks left out."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() and path.suffix != ".lock"
    )


def endless(_: bytes) -> Iterator[bytes]:
    return itertools.repeat(b"[" * 65536)


def drop_by_drop(content: bytes) -> Iterator[bytes]:
    for byte in content:
        time.sleep(0.2)
        yield bytes([byte])


@pytest.mark.parametrize("wrong", ["../../../../x", "/tmp/x", "..", "", "a/b", "C:\\x", "x" * 5000])
def test_headers_of_a_file_decide_no_place(wrong, cache, faults, tmp_path, repositories) -> None:
    names = ("ETag", "X-Linked-Etag", "X-Repo-Commit", "X-Linked-Size", "Content-Disposition")
    faults.file_headers = dict.fromkeys(names, f'"{wrong}"')
    path = pull()
    folder = locate_checkpoint(CONFIG)
    assert path.read_bytes() == (repositories[NAME] / FILE).read_bytes()
    assert (folder / "config.json").read_text() == "{}"
    for file in written(tmp_path):
        assert file.startswith("a/b/c/d/hub/models--somebody--"), file
    assert len(written(cache)) == 3 * 2 + 2  # blobs, links, and two refs


@pytest.mark.parametrize(
    "name",
    [
        *("../x.gguf", "a/../../x.gguf", "/x.gguf", "//host/x.gguf", "a//x.gguf", "./x.gguf"),
        *("a\\x.gguf", "..\\x.gguf", "C:x.gguf", "C:/x.gguf", "x.gguf:stream.gguf", "a\0x.gguf"),
        *("a\nx.gguf", "\x1b[31mx.gguf", "\u202ex.gguf", "\ud800x.gguf", "con.gguf", "a/NUL .gguf"),
        *("COM1.gguf", "lpt9/x.gguf", "a./x.gguf", "a /x.gguf", "x" * 3000 + ".gguf"),
        *("x/" * 600 + "x.gguf", "x" * 250 + ".gguf", "a?.gguf", ".gguf/../x.gguf"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, cache, faults, tmp_path) -> None:
    def rename(info: dict[str, Any]) -> object:
        (entry,) = info["siblings"]
        return info | {"siblings": [entry | {"rfilename": name[:-5] + ".Q8_0.gguf"}]}

    def rename_exactly(info: dict[str, Any]) -> object:
        entry = info["siblings"][0]
        return info | {"siblings": [entry | {"rfilename": name}]}

    assert is_safe("sub/model.Q8_0 (1)_é字.gguf")
    assert not is_safe(name)
    for faults.listing in (rename, rename_exactly):
        with pytest.raises(HubError) as caught:
            pull()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
    assert written(tmp_path) == []


def test_a_checkpoint_with_a_name_that_leads_elsewhere_is_refused(cache, faults, tmp_path) -> None:
    faults.listing = lambda info: (
        info
        | {"siblings": [info["siblings"][0] | {"rfilename": "model/../../../../x.safetensors"}]}
    )
    with pytest.raises(HubError, match="invalid name"):
        locate_checkpoint(CONFIG)
    assert written(tmp_path) == []


def changed(**facts: object) -> Callable[[dict[str, Any]], object]:
    return lambda info: info | facts


def file_facts(**facts: object) -> Callable[[dict[str, Any]], object]:
    def change(info: dict[str, Any]) -> object:
        (entry,) = info["siblings"]
        lfs = entry["lfs"] | {key: value for key, value in facts.items() if key != "lfs"}
        return info | {"siblings": [entry | facts | {"lfs": facts.get("lfs", lfs)}]}

    return change


BAD = ("abc", None, -1, 1e400, float("nan"), True, 2**80, 1.5, [], {}, [1], "1e3", 10**4000)
LISTINGS: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"size {str(value)[:20]!r}": file_facts(size=value) for value in BAD},
    "size of 100,000 digits": lambda _: b'{"siblings": [{"size": ' + b"9" * 100_000 + b"}]}",
    **{
        f"{what} {value!r}": file_facts(sha256=value)
        for what, value in (
            *(("sha256", "../../../../x"), ("sha256", "a" * 63), ("sha256", "A" * 64)),
            *(("sha256", ["a" * 64]), ("sha256", {}), ("sha256", "a" * 64 + "\n"), ("sha256", 1)),
        )
    },
    **{f"lfs {value!r}": file_facts(lfs=value, blobId="../x") for value in (None, [], 1, "x", {})},
    **{
        f"commit {value!r}": changed(sha=value)
        for value in ("../../x", None, 1, [], {}, "main", "a" * 39, "A" * 40, "a" * 40 + "\n")
    },
    **{
        f"files {value!r}": changed(siblings=value)
        for value in (
            *("abc", 1, {}, {"a": 1}, [1], [None], [[]], [{}], [{"rfilename": None}]),
            *([{"rfilename": ["x-Q8_0.gguf"]}], [{"rfilename": {}}], [{"rfilename": FILE}] * 2),
        )
    },
    **{f"a listing {value!r}": lambda _, v=value: v for value in ([], "x", 1, None, True, [[]])},
    "no JSON": lambda _: b"<!DOCTYPE html>",
    "nothing": lambda _: b"",
    "not UTF-8": lambda _: b'{"sha": "\xff\xfe"}',
    "deep": lambda _: b"[" * 1_000_000,
    "deep objects": lambda _: b'{"a":' * 500_000,
}


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)
def test_listings_of_wrong_types_are_one_error(listing, cache, faults, tmp_path) -> None:
    faults.listing = listing
    with pytest.raises(HubError) as caught:
        pull()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    "card", ["x", [], 1, None, {"license": []}, {"license": {}}, {"license": 1}]
)
def test_a_card_of_a_wrong_type_names_no_licence(card, cache, faults) -> None:
    faults.listing = changed(cardData=card)
    assert read_listing(NAME).license is None


def test_a_licence_is_safe_to_show(cache, faults) -> None:
    faults.listing = changed(cardData={"license": "mit\x1b]0;x\x07\r\n\u202e" + "x" * 100_000})
    licence = read_listing(NAME).license
    assert licence is not None
    assert licence.startswith("mit\ufffd]0;x")
    assert licence.isprintable()
    assert len(licence) == 100


@pytest.mark.parametrize(
    "pieces",
    [endless, lambda _: itertools.repeat(b" " * 65536), lambda _: [b'{"x": "', b"x" * (50 << 20)]],
    ids=["brackets", "blanks", "50 MB"],
)
def test_a_listing_is_bounded_in_size(pieces, cache, faults) -> None:
    faults.listing_pieces = pieces
    with pytest.raises(HubError, match="more than 16 MiB"):
        pull()


@pytest.mark.slow
def test_a_listing_is_bounded_in_time(cache, faults) -> None:
    faults.listing_pieces = drop_by_drop
    begun = time.monotonic()
    with pytest.raises(HubError, match="does not finish its answer"):
        pull()
    assert time.monotonic() - begun < 30


@pytest.mark.slow
def test_headers_are_bounded_in_time(cache, faults) -> None:
    faults.slow_headers = True
    begun = time.monotonic()
    with pytest.raises(HubError, match="does not finish its answer"):
        pull()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "pieces",
    [
        lambda content: itertools.chain([content], itertools.repeat(bytes(65536))),
        lambda content: [content, bytes(100 << 20)],
        lambda content: [content + b"x"],
    ],
    ids=["endless", "100 MB more", "one byte more"],
)
def test_a_body_is_read_to_the_promised_size_only(pieces, cache, faults, tmp_path) -> None:
    faults.pieces = pieces
    with pytest.raises(HubError, match=r"is longer than the .* bytes of the hub's listing"):
        pull()
    assert written(tmp_path) == []


def test_a_length_of_another_file_is_not_read(cache, faults, repositories) -> None:
    """A page to log in at, for instance, in place of the rest of a download."""
    remote = hub.locate(parse(NAME))
    remote.blob.parent.mkdir(parents=True)
    part = remote.blob.with_name(f"{remote.digest}.jlocal.incomplete")
    part.write_bytes(b"x" * 100)
    faults.file_headers = {"Content-Length": str(100 << 20)}
    faults.pieces = lambda _: [b"<html>"]
    with pytest.raises(HubError, match="announces 104857600 bytes instead of"):
        hub.download(remote)
    assert part.read_bytes() == b"x" * 100


@pytest.mark.slow
def test_compressed_answers_are_refused(cache, faults, tmp_path) -> None:
    faults.file_headers = {"Content-Encoding": "gzip"}
    compressed = gzip.compress(bytes(200 << 20), 1)
    faults.pieces = lambda _: [compressed]
    with pytest.raises(HubError, match="sends a compressed response"):
        pull()
    assert not [name for name in written(tmp_path) if "incomplete" not in name]


def test_a_hub_without_ranges_completes_what_is_here(cache, faults, repositories) -> None:
    content = (repositories[NAME] / FILE).read_bytes()
    remote = hub.locate(parse(NAME))
    remote.blob.parent.mkdir(parents=True)
    part = remote.blob.with_name(f"{remote.digest}.jlocal.incomplete")
    part.write_bytes(content[:100])
    faults.pieces = lambda content: [content]
    assert hub.download(remote).path.read_bytes() == content


def test_another_part_than_asked_for_is_refused(cache, faults, repositories) -> None:
    remote = hub.locate(parse(NAME))
    remote.blob.parent.mkdir(parents=True)
    part = remote.blob.with_name(f"{remote.digest}.jlocal.incomplete")
    part.write_bytes((repositories[NAME] / FILE).read_bytes()[:100])
    faults.file_headers = {"Content-Range": "bytes 0-1/2"}
    with pytest.raises(HubError, match="another part"):
        hub.download(remote)


@pytest.mark.slow
def test_a_download_that_crawls_is_given_up(cache, faults) -> None:
    faults.pieces = drop_by_drop
    begun = time.monotonic()
    with pytest.raises(HubError, match=r"bytes in .* seconds; run it again later"):
        pull()
    assert time.monotonic() - begun < 30
    (part,) = cache.rglob("*.jlocal.incomplete")
    assert part.stat().st_size > 2


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:,x",
        "http://[",
        "javascript:1",
        "gopher://x",
    ],
)
def test_redirects_lead_to_web_addresses_only(target, cache, faults) -> None:
    faults.redirect = lambda _: target
    with pytest.raises(HubError, match="which is not followed"):
        pull()


def test_redirects_end(cache, faults) -> None:
    faults.redirect = lambda path: path
    with pytest.raises(HubError, match="redirects too many times"):
        pull()


def test_the_token_goes_to_no_other_host(cache, faults, repositories, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    elsewhere = Faults()
    with serve(repositories, elsewhere) as (address, downloads):
        faults.redirect = lambda path: address + path
        assert pull().is_file()
    assert downloads == [FILE]
    assert set(faults.tokens) == {"Bearer hf_secret"}
    assert set(elsewhere.tokens) == {""}


def test_a_token_that_cannot_be_sent_is_not_shown(cache, monkeypatch) -> None:
    for token in ("hf_sec\x01ret", "hf_sécret"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HubError, match="HF_TOKEN") as caught:
            pull()
        assert "ret" not in str(caught.value)


def test_a_wait_of_a_million_digits_is_none(cache, faults) -> None:
    faults.answers, faults.headers = [503], {"Retry-After": "9" * 60_000}
    assert pull().is_file()


def test_links_that_are_switched_off_leave_files(cache, monkeypatch, repositories) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True, raising=False)
    path = pull()
    assert not path.is_symlink()
    assert path.read_bytes() == (repositories[NAME] / FILE).read_bytes()
    assert pull() == path
    path.write_bytes(b"x" * path.stat().st_size)
    assert pull().read_bytes() == (repositories[NAME] / FILE).read_bytes()

"""jlocal pull, list, show and rm: a real huggingface_hub, a hub on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.gguf_files import few_tokens, placeholder, values, variant
from support.hub import Faults, serve

SMALL = "jinaai/jina-embeddings-v5-text-small-retrieval"
NANO = "jinaai/jina-embeddings-v5-text-nano"
OTHER = "somebody/embedder"
NAME, FILE = "small-retrieval:Q8_0", "v5-small-retrieval-Q8_0.gguf"
CUT = 15 << 20  # where connections break


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, nano_checkpoint) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("hub")
    placeholder(root / "gguf" / FILE, megabytes=24)
    placeholder(root / "gguf" / "v5-small-retrieval-Q4_K_M.gguf")
    placeholder(root / "gguf" / "v5-small-retrieval-F16-00001-of-00002.gguf")
    placeholder(root / "merged" / "model-F16.gguf")
    placeholder(root / "merged" / "model-BF16.gguf")
    placeholder(root / "other" / "sub" / "model_q8_0.gguf")
    placeholder(root / "other" / "a-Q6_K.gguf")
    placeholder(root / "other" / "b-Q6_K.gguf")
    placeholder(root / "other" / "mmproj-Q4_0.gguf")
    (root / "other" / "bad-Q5_0.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    (root / "empty").mkdir()
    return {
        f"{SMALL}-GGUF": root / "gguf",
        SMALL: root / "merged",
        f"{NANO}-clustering": root / "empty",
        NANO: few_tokens(variant(nano_checkpoint, root / "nano")),
        OTHER: root / "other",
    }


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def hub(repositories, faults) -> Iterator[tuple[str, list[str]]]:
    with serve(repositories, faults) as served:
        yield served


@pytest.fixture
def environment(hub, tmp_path, monkeypatch) -> dict[str, str]:
    return os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub[0]}


@pytest.fixture
def start(environment) -> Callable[..., subprocess.Popen]:
    def run(*arguments: str, **changed: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "jlocal", *arguments],
            env=environment | changed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def jlocal(start) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str, **changed: str) -> tuple[int, str, str]:
        with start(*arguments, **changed) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


def fails(done: tuple[int, str, str]) -> str:
    """Return the one line of a failure."""
    status, out, err = done
    assert (status, out) == (1, ""), err
    lines = [line for line in err.splitlines() if "; licence " not in line]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    return lines[0]


def listed(jlocal) -> dict[str, dict]:
    """Name -> what is said of each model that was brought here."""
    status, out, err = jlocal("list", "--json")
    assert (status, err) == (0, "")
    return {model["name"]: model for model in json.loads(out) if model["source"] != "jlocal"}


def parts(environment) -> list[Path]:
    return list(Path(environment["HF_HOME"]).rglob("*.incomplete"))


@pytest.mark.slow
def test_pull_list_show_and_rm(jlocal, hub, repositories, environment) -> None:
    status, out, err = jlocal("pull", "small", "--yes")
    assert status == 0, err
    assert err == (
        f"{NAME}: {SMALL}-GGUF, {FILE}, 25 MB; licence cc-by-nc-4.0 (no commercial use)\n"
    )
    path = Path(out.rstrip("\n"))
    content = (repositories[f"{SMALL}-GGUF"] / FILE).read_bytes()
    assert path.read_bytes() == content

    facts = listed(jlocal)[NAME]
    assert facts.pop("used").startswith("20")
    commit = hashlib.sha1(f"{SMALL}-GGUF".encode()).hexdigest()
    digest = hashlib.sha256(content).hexdigest()
    assert facts == {
        "name": NAME,
        "path": str(path),
        "size": len(content),
        "sha256": digest,
        "source": f"{SMALL}-GGUF",
        "revision": commit,
        "license": "cc-by-nc-4.0",
        "task": "retrieval",
        "type": "Q8_0",
    }
    assert {"NAME", NAME, "25", "MB", "retrieval", str(path)} <= set(jlocal("list")[1].split())
    for name in (NAME, "SMALL", f"{SMALL}:q8_0", str(path)):
        shown = json.loads(jlocal("show", name, "--json", HF_ENDPOINT="http://127.0.0.1:9")[1])
        assert shown["sha256"] == digest
        assert shown["source"] == f"{SMALL}-GGUF"
        assert shown["revision"] == commit
        assert shown["license"] == "cc-by-nc-4.0"
        assert shown["context"] == 32_768
    # Others find it in the cache as well.
    refs = path.parents[2] / "refs" / "main"
    assert refs.read_text() == commit

    before = len(hub[1])
    assert jlocal("pull", "small", "-q") == (0, out, "")
    assert len(hub[1]) == before, "a file that is here was downloaded again"

    assert "to remove without asking, add --yes" in jlocal("rm", "small")[2]
    assert jlocal("rm", "small", "--yes") == (0, "", f"Removed {NAME}, 25 MB\n")
    assert listed(jlocal) == {}
    assert not any(file.suffix == ".gguf" for file in path.parents[2].rglob("*"))
    assert sum(f.stat().st_size for f in Path(environment["HF_HOME"]).rglob("*")) < 1 << 16
    assert "not on this machine" in fails(jlocal("rm", "small", "--yes"))


def test_rm_leaves_the_other_files(jlocal) -> None:
    assert jlocal("pull", "small", "small:Q4_K_M", "-yq")[0] == 0
    assert jlocal("rm", "small:q4_k_m", "-yq") == (0, "", "")
    assert list(listed(jlocal)) == [NAME]
    assert jlocal("show", "small")[0] == 0


@pytest.mark.slow
def test_names_lead_to_files(jlocal) -> None:
    names = ["small:F16", f"{SMALL}:bf16", f"{OTHER}", f"{OTHER}:b-Q6_K"]
    status, out, err = jlocal("pull", "-yq", *names)
    assert (status, err) == (0, "")
    assert [Path(line).name for line in out.splitlines()] == [
        *("model-F16.gguf", "model-BF16.gguf", "model_q8_0.gguf", "b-Q6_K.gguf")
    ]
    assert set(listed(jlocal)) == {
        *("small-retrieval:F16", "small-retrieval:BF16", f"{OTHER}:Q8_0", f"{OTHER}:b-Q6_K")
    }


@pytest.mark.slow
def test_a_file_that_others_put_in_the_cache_is_found(jlocal, environment) -> None:
    code = f"import huggingface_hub as h; print(h.hf_hub_download({SMALL!r}, 'model-F16.gguf'))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0
    facts = listed(jlocal)["small-retrieval:F16"]
    assert (facts["task"], facts["used"], len(facts["sha256"])) == ("retrieval", None, 64)
    assert json.loads(jlocal("show", "small:F16", "--json")[1])["source"] == SMALL


@pytest.mark.slow
def test_the_licence_is_asked_for(jlocal, environment, hub) -> None:
    assert "--yes" in fails(jlocal("pull", "small"))
    for answer, status in (("n\n", 1), ("y\n", 0)):
        terminal, inside = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "jlocal", "pull", "small:Q4_K_M"],
            env=environment,
            stdin=inside,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(inside)
        os.write(terminal, answer.encode())
        _, err = process.communicate(timeout=60)
        os.close(terminal)
        assert (process.returncode == 0) == (status == 0), err
        assert "licence cc-by-nc-4.0 (no commercial use)" in err
        assert "Accept and download? [y/N]" in err
        assert "%|" not in err, "a progress bar without a terminal"
        assert err.endswith("Nothing was changed.\n") == (status == 1)
        assert bool(hub[1]) == (status == 0)


@pytest.mark.slow
def test_progress_on_a_terminal(environment) -> None:
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "jlocal", "pull", "small", "-y"],
        env=environment,
        stderr=inside,
        stdout=subprocess.DEVNULL,
    )
    os.close(inside)
    shown = b""
    try:
        while block := os.read(terminal, 1 << 16):
            shown += block
    except OSError:  # how Linux says that the other end is closed
        pass
    assert process.wait(60) == 0
    assert FILE.encode() in shown
    assert b"100%|" in shown


def test_a_cut_connection_goes_on(jlocal, faults) -> None:
    faults.cuts += [CUT]
    status, _, err = jlocal("pull", "small", "-yq")
    assert (status, err) == (0, "")
    assert faults.ranges[:2] == ["", f"bytes={CUT}-"]


@pytest.mark.slow
def test_a_killed_download_goes_on(start, jlocal, faults, environment) -> None:
    faults.stalls += [CUT]
    process = start("pull", "small", "-yq", HF_HUB_DOWNLOAD_TIMEOUT="60")
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size >= CUT for part in parts(environment)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert listed(jlocal) == {}
    faults.release.set()
    assert jlocal("pull", "small", "-yq")[0] == 0
    assert faults.ranges[:2] == ["", f"bytes={CUT}-"]
    assert list(listed(jlocal)) == [NAME]
    assert parts(environment) == []


@pytest.mark.slow
def test_rm_removes_what_an_unfinished_download_left(start, jlocal, faults, environment) -> None:
    faults.stalls += [CUT]
    process = start("pull", "small", "-yq", HF_HUB_DOWNLOAD_TIMEOUT="60")
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size >= CUT for part in parts(environment)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "another process is downloading" in fails(jlocal("rm", "small", "-yq"))
    process.kill()
    process.communicate()
    status, _, err = jlocal("rm", "small", "-y")
    assert (status, err) == (0, "Removed an unfinished download, 16 MB\n")
    assert parts(environment) == []
    assert "not on this machine" in fails(jlocal("rm", "small", "-y"))


@pytest.mark.slow
def test_a_killed_conversion_is_swept(start, jlocal, user_folders) -> None:
    arguments = ("pull", "nano-clustering:F16", "--convert", "-yq")
    models = user_folders / "data" / "jlocal" / "models"
    process = start(*arguments)
    deadline = time.monotonic() + 60
    while not list(models.glob(".jlocal-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert list(models.glob(".jlocal-*"))
    assert jlocal(*arguments)[0] == 0
    assert sorted(path.suffix for path in models.iterdir()) == [".gguf", ".json"]


@pytest.mark.slow
def test_two_at_once_download_once(start, faults, jlocal) -> None:
    processes = [start("pull", "small", "-yq") for _ in range(2)]
    done = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], done
    assert done[0] == done[1]
    assert faults.ranges == [""]
    assert list(listed(jlocal)) == [NAME]


@pytest.mark.slow
def test_the_second_of_two_says_what_it_waits_for(start, faults, jlocal, environment) -> None:
    faults.stalls += [CUT]
    first = start("pull", "small", "-yq", HF_HUB_DOWNLOAD_TIMEOUT="60")
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size >= CUT for part in parts(environment)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = start("pull", "small", "-y")
    lines = [second.stderr.readline() for _ in range(2)]
    assert lines[1] == f"Waiting for another process that downloads {NAME}\n"
    # A signal within a write to stderr would repeat what was written.
    time.sleep(0.5)
    second.send_signal(signal.SIGINT)
    assert (second.communicate(timeout=60)[1].strip(), second.returncode) == ("Interrupted.", 130)
    faults.release.set()
    assert first.communicate(timeout=60)
    assert first.returncode == 0
    assert list(listed(jlocal)) == [NAME]


@pytest.mark.slow
def test_a_second_conversion_waits_for_the_first(start, user_folders, jlocal, hub) -> None:
    from jlocal.models.locks import locked

    lock = user_folders / "data" / "jlocal" / ".locks" / "nano-clustering-F16.lock"
    with locked(lock):
        waiting = start("pull", "nano-clustering:F16", "--convert", "-y")
        lines = [waiting.stderr.readline() for _ in range(2)]
        assert lines[1] == "Waiting for another process that makes nano-clustering:F16\n"
    out, _ = waiting.communicate(timeout=120)
    assert waiting.returncode == 0
    assert Path(out.rstrip("\n")).is_file()


def test_a_hub_that_is_busy_is_asked_again(jlocal, faults) -> None:
    faults.answers, faults.headers = [429, 503], {"Retry-After": "0"}
    status, _, err = jlocal("pull", "small:Q4_K_M", "-yq")
    assert (status, err) == (0, "")
    assert faults.answers == []


@pytest.mark.parametrize(
    ("wrong", "arguments", "says"),
    {
        "unauthorised": ({"answers": [401] * 9}, ["small"], "set HF_TOKEN if it is private"),
        "forbidden": ({"answers": [403] * 9}, ["small"], "check HF_TOKEN"),
        "gated": (
            {"answers": [403] * 9, "headers": {"X-Error-Code": "GatedRepo"}},
            ["small"],
            "accept its terms",
        ),
        "always busy": (
            {"answers": [429] * 20, "headers": {"Retry-After": "0"}},
            ["small"],
            "too many requests",
        ),
        "a fault": ({"answers": [500] * 20, "headers": {"Retry-After": "0"}}, ["small"], "500"),
        "no repository": ({}, ["somebody/nothing"], "the hub has no model somebody/nothing"),
        "no revision": ({}, ["small", "--revision", "v9"], "no revision 'v9'"),
        "no type": ({}, [f"{OTHER}:Q2_K"], "there are Q5_0, Q6_K, Q8_0"),
        "two of a type": ({}, [f"{OTHER}:Q6_K"], "a-Q6_K, b-Q6_K"),
        "not published": ({}, ["small:Q5_0"], "--convert"),
        "vanished": ({"vanished": True}, ["small"], "no longer has the file"),
        "damaged": ({"damaged": True}, ["small"], "SHA-256"),
        "no GGUF": ({}, [f"{OTHER}:Q5_0"], "versions 2 and 3 are known"),
        "full disk": ({"sizes": {FILE: 1 << 60}}, ["small"], "make room"),
        "other size": ({"sizes": {FILE: 1000}}, ["small"], "run it again"),
        "a revision of one": ({}, [f"{OTHER}", "--revision", "../../main"], "no revision"),
    }.values(),
    ids=str,
)
def test_what_goes_wrong_is_one_line(jlocal, faults, environment, wrong, arguments, says) -> None:
    for name, value in wrong.items():
        setattr(faults, name, value)
    assert says in fails(jlocal("pull", *arguments, "--yes"))
    assert listed(jlocal) == {}
    assert not list((Path(environment["HF_HOME"]) / "hub").rglob("snapshots/*/*"))


def test_nobody_answers(jlocal, environment) -> None:
    line = fails(jlocal("pull", "small", "-y", HF_ENDPOINT="http://127.0.0.1:9"))
    assert "check the connection" in line


@pytest.mark.slow
def test_a_disk_that_fills_up(environment, jlocal) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jlocal", "pull", "small", "-y"],
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, 5 << 20)),
    )
    assert "make room" in fails((done.returncode, done.stdout, done.stderr))
    assert listed(jlocal) == {}


@pytest.mark.slow
def test_a_damaged_file_is_repaired_by_pull(jlocal, environment) -> None:
    path = Path(jlocal("pull", "small:Q4_K_M", "-yq")[1].rstrip("\n"))
    good = path.read_bytes()
    path.resolve().chmod(0o644)
    path.write_bytes(good[:-1])
    line = fails(jlocal("show", "small:Q4_K_M"))
    assert "jlocal pull small-retrieval:Q4_K_M" in line
    path.write_bytes(good[:-1] + b"!")
    assert jlocal("pull", "small:Q4_K_M", "-yq")[0] == 0
    assert path.read_bytes() == good


@pytest.mark.slow
def test_a_revision_is_pinned(jlocal, hub) -> None:
    assert jlocal("pull", "small:Q4_K_M", "--revision", "v1", "-yq")[0] == 0
    commit = listed(jlocal)["small-retrieval:Q4_K_M"]["revision"]
    assert jlocal("pull", "small:Q4_K_M", "--revision", commit, "-q")[0] == 0
    assert len(hub[1]) == 1


def test_what_is_not_published_is_made_here(jlocal, hub, user_folders) -> None:
    arguments = ("pull", "nano-clustering:F16", "--convert", "-yq")
    status, out, err = jlocal(*arguments)
    assert (status, err) == (0, "")
    path = Path(out.rstrip("\n"))
    assert path == user_folders / "data" / "jlocal" / "models" / "nano-clustering-F16.gguf"
    assert values(path)["jlocal.task"] == "clustering"
    facts = listed(jlocal)["nano-clustering:F16"]
    assert (facts["source"], facts["license"]) == ("convert", "cc-by-nc-4.0")
    assert len(facts["revision"]) == 40
    asked = len(hub[1])
    assert jlocal(*arguments) == (0, out, "")
    assert len(hub[1]) == asked
    assert jlocal("rm", "nano-clustering:F16", "-yq")[0] == 0
    assert list(path.parent.iterdir()) == []


@pytest.mark.slow
def test_ctrl_c_leaves_a_part_that_is_used(start, jlocal, faults, environment) -> None:
    faults.stalls += [CUT]
    process = start("pull", "small", "-yq", HF_HUB_DOWNLOAD_TIMEOUT="60")
    deadline = time.monotonic() + 60
    while not any(part.stat().st_size >= CUT for part in parts(environment)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "Interrupted.")
    faults.release.set()
    assert jlocal("pull", "small", "-yq")[0] == 0
    assert faults.ranges[1] == f"bytes={CUT}-"

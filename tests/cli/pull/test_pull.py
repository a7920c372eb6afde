"""jlocal pull, list, show and rm: a real huggingface_hub, a hub on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from support.gguf_files import values
from support.pulls import FILE, NAME, OTHER, SMALL, fails, listed


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_revision_is_pinned(jlocal, hub) -> None:
    assert jlocal("pull", "small:Q4_K_M", "--revision", "v1", "-yq")[0] == 0
    commit = listed(jlocal)["small-retrieval:Q4_K_M"]["revision"]
    assert jlocal("pull", "small:Q4_K_M", "--revision", commit, "-q")[0] == 0
    assert len(hub[1]) == 1


@pytest.mark.slow
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

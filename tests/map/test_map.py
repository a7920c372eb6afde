"""`jlocal map`: what is computed, and what is written."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal.cli.commands.map import command
from jlocal.collection.database.store import Store
from jlocal.errors import ArgumentError, CollectionError
from jlocal.map.assets import colours
from jlocal.map.clusters import kmeans, name_clusters
from jlocal.map.folders import below_common_folder, by_top_folder
from jlocal.map.layout import lay_out
from jlocal.map.picture import MAX_GROUPS, draw
from jlocal.map.projection import pca
from jlocal.vectors import normalize
from support.maps import HOSTILE, data_of, made, write


@pytest.fixture
def jlocal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
        code = f"{before}\nfrom jlocal.cli import main\nmain()"
        return subprocess.run(
            [sys.executable, "-c", code, "map", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip

    return run


def around(centres: int, each: int, dimensions: int, spread: float = 0.3) -> np.ndarray:
    """Unit vectors around as many directions, one group after the other."""
    rng = np.random.default_rng(4)
    middle = normalize(rng.standard_normal((centres, dimensions)).astype(np.float32))
    noise = rng.standard_normal((centres, each, dimensions)) * spread / dimensions**0.5
    return normalize((middle[:, None] + noise).reshape(-1, dimensions).astype(np.float32))


@pytest.mark.parametrize("shape", [(500, 64), (40, 64), (3, 8), (2, 2), (50, 1)])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_principal_components(shape: tuple[int, int], block: int) -> None:
    vectors = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    vectors[:, 0] *= 3
    points, shares = pca(lambda: (vectors[n : n + block] for n in range(0, len(vectors), block)))
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    found = min(2, len(sizes))
    expected = np.zeros((len(vectors), 2))
    expected[:, :found] = (left * sizes)[:, :found]
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=2e-5 * sizes[0])
    variance = np.zeros(2)
    variance[:found] = (sizes**2 / (sizes**2).sum())[:found]
    np.testing.assert_allclose(shares, variance, atol=1e-5)


def test_principal_components_of_nearly_equal_vectors() -> None:
    base = around(1, 1, 32)
    near = base + np.random.default_rng(0).standard_normal((100, 32)).astype(np.float32) * 1e-3
    _, shares = pca(lambda: [near])
    centred = near - near.mean(axis=0, dtype=np.float64)
    sizes = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(shares, (sizes**2 / (sizes**2).sum())[:2], rtol=1e-3)
    for same in (base, base[[0, 0]], base[[0] * 50]):
        points, shares = pca(lambda same=same: [same])
        assert shares == (0, 0)
        assert not points.any()
    with pytest.raises(ArgumentError):
        pca(lambda: [])


def test_k_means() -> None:
    vectors = around(5, 40, 32)
    shuffled = np.random.default_rng(9).permutation(len(vectors))
    labels = kmeans(vectors[shuffled], 5, seed=0)
    truth = shuffled // 40
    pairs = {(int(a), int(b)) for a, b in zip(labels, truth, strict=True)}
    assert len(pairs) == 5
    np.testing.assert_array_equal(labels, kmeans(vectors[shuffled], 5, seed=0))
    uneven = np.concatenate([vectors[:10], vectors[40:80], vectors[80:100]])
    assert np.bincount(kmeans(uneven, 3, seed=1)).tolist() == [40, 20, 10]
    assert set(kmeans(vectors[[0, 0, 40]], 8, seed=0).tolist()) == {0, 1}
    assert kmeans(vectors[:1], 3, seed=0).tolist() == [0]
    assert kmeans(vectors, 1, seed=0).tolist() == [0] * 200


def test_words_of_clusters() -> None:
    texts = [
        "the cat sleeps",
        "The CAT eats the fish",
        "the price rises",
        "a price, the price falls",
    ]
    labels = np.array([0, 0, 1, 1])
    assert name_clusters(texts, labels) == ["1: cat", "2: price"]
    assert name_clusters(["a", "火星", ""], np.array([0, 0, 1])) == ["1", "2"]


def test_folders() -> None:
    paths = ["/n/a/x/1.md", "/n/a/2.md", "/n/b/3.md", "/n/4.md"]
    below = below_common_folder(paths)
    assert below == ["a/x/1.md", "a/2.md", "b/3.md", "4.md"]
    assert by_top_folder(below, 12) == (["a/", "./", "b/"], [0, 0, 2, 1])
    assert below_common_folder(["/n/a/1.md", "/n/a/1.md"]) == ["1.md", "1.md"]
    assert below_common_folder(["/a.md", "/n/b.md"]) == ["a.md", "n/b.md"]
    assert below_common_folder(["/n/ab/1", "/n/a/1"]) == ["ab/1", "a/1"]
    many = [f"{'x' * (n + 1)}/{k}" for n in range(20) for k in range(20 - n)]
    names, numbers = by_top_folder(many, 12)
    assert names == [*("x" * (n + 1) + "/" for n in range(11)), "9 other folders"]
    assert np.bincount(numbers).tolist() == [*range(20, 9, -1), sum(range(1, 10))]


@pytest.mark.slow
def test_a_page(jlocal, tmp_path: Path) -> None:
    made(tmp_path / "notes.db")
    done = jlocal("-d", "notes.db", "-o", "map.html")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(
        r"120 points\. PCA: the axes show [\d.]+% and [\d.]+% of the variance; [\d.]+% cannot be "
        r"seen here\.\n",
        done.stderr,
    )
    page = (tmp_path / "map.html").read_bytes()
    data = data_of(page)
    assert data["title"] == "notes"
    assert data["layout"] in done.stderr
    assert data["groups"] == ["a/", "b/", "c/"]
    assert (data["total"], len(data["x"])) == (120, 120)
    assert data["text"][7] == "Passage 7 of folder b/"
    assert data["paths"][data["path"][7]] + data["where"][7] == "b/7.md:8"
    assert max(map(abs, data["x"] + data["y"])) == 10_000
    assert {path.name for path in tmp_path.iterdir()} == {"notes.db", "map.html"}
    # The same again, and to a pipe.
    assert jlocal("-d", "notes.db", "-o", "map.html", "-q").stderr == ""
    assert (tmp_path / "map.html").read_bytes() == page
    assert jlocal("-d", "notes.db", "-o", "-").stdout.encode() == page


@pytest.mark.slow
def test_clusters_on_the_page(jlocal, tmp_path: Path) -> None:
    made(tmp_path / "notes.db")
    arguments = ("-d", "notes.db", "-o", "map.html", "--title", "</title> & all")
    for more in (("--clusters", 3), ("--color", "cluster", "--clusters", 3)):
        assert jlocal(*arguments, *more).returncode == 0
        data = data_of((tmp_path / "map.html").read_bytes())
        assert data["grouping"] == "cluster"
        assert data["title"] == "</title> & all"
        assert len(data["groups"]) == 3
        assert np.bincount(data["group"]).tolist() == [40, 40, 40]
        # The made-up vectors stand together by folder.
        folders = [data["paths"][path][0] for path in data["path"]]
        assert len(set(zip(data["group"], folders, strict=True))) == 3
    assert jlocal(*arguments, "--color", "cluster").returncode == 0
    assert len(data_of((tmp_path / "map.html").read_bytes())["groups"]) == 8


@pytest.mark.slow
def test_a_sample_says_so(jlocal, tmp_path: Path) -> None:
    made(tmp_path / "notes.db")
    done = jlocal("-d", "notes.db", "-o", "map.html", "--limit", 50, "--characters", 9)
    assert done.stderr.startswith(
        "Note: a random sample of 50 of 120 passages; --limit draws more.\n50 points. "
    )
    data = data_of((tmp_path / "map.html").read_bytes())
    assert (data["total"], len(data["x"])) == (120, 50)
    assert len({data["paths"][path] for path in data["path"]}) == 50
    assert data["cut"]
    assert set(data["text"]) <= {f"Passage {n}…" for n in range(10)} | {"Passage 1…"}


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    made(tmp_path / "c.db", HOSTILE)
    write(tmp_path / "c.db", tmp_path / "map.html", title=HOSTILE[0])
    page = (tmp_path / "map.html").read_bytes()
    data = data_of(page)
    assert [text.removesuffix("…") for text in data["text"]] == [
        " ".join(text.split())[:500] for text in HOSTILE
    ]
    assert data["title"] == HOSTILE[0]
    # Nothing of them stands in the page but escaped, in one block.
    before, _, rest = page.partition(b'<script id="data" type="application/json">')
    block, _, after = rest.partition(b"</script>")
    assert block.isascii()
    assert b"<" not in block
    assert b"\0" not in page
    assert (before + after).count(b"hacked") == 0


def test_names_of_files(tmp_path: Path) -> None:
    names = ["a.pdf", "<b>/b.html", "\udcff.md", "\u202e\x1b.txt"]
    made(tmp_path / "c.db", list("abcd"), names=names)
    write(tmp_path / "c.db", tmp_path / "map.html")
    data = data_of((tmp_path / "map.html").read_bytes())
    locations = zip(data["path"], data["where"], strict=True)
    shown = [data["paths"][path] + where for path, where in locations]
    assert shown == ["a.pdf p. 1", "<b>/b.html", "\udcff.md:3", "\u202e\x1b.txt:4"]
    assert data["groups"] == ["./", "<b>/"]


def test_the_page_may_load_nothing_and_run_only_itself(tmp_path: Path) -> None:
    made(tmp_path / "c.db", HOSTILE)
    write(tmp_path / "c.db", tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert page.index("Content-Security-Policy") < page.index("<style>")
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (script, style)
    ]
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{hashes[0]}'",
        f"style-src 'sha256-{hashes[1]}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    own = page.replace(re.search(r'<script id="data".*?</script>', page, re.DOTALL)[0], "")
    assert not re.search(r"https?:|\bsrc=|\bhref=|@import|url\(|\bon\w+=", own)
    assert "innerHTML" not in script


def test_few_points(tmp_path: Path) -> None:
    same = np.tile(around(1, 1, 16), (2, 1))
    for vectors, sentence in (
        (same[:1], "A single point."),
        (same, "All vectors are the same."),
        (around(2, 1, 16), "PCA: the axes show 100.0% and 0.0% of the variance; 0.0% cannot "),
    ):
        database = tmp_path / f"{len(sentence)}.db"
        made(database, [f"text {n}" for n in range(len(vectors))], vectors)
        for clusters in (None, 8):
            write(database, tmp_path / "map.html", clusters=clusters)
            data = data_of((tmp_path / "map.html").read_bytes())
            assert data["layout"].startswith(sentence)
            assert len(data["x"]) == len(vectors)
        with pytest.raises(ArgumentError, match="at least 5 passages"):
            draw(database, method="umap")


def test_a_text_in_many_places_is_one_point(tmp_path: Path) -> None:
    made(tmp_path / "c.db", ["same", "same", "other", "same"])
    picture = draw(tmp_path / "c.db")
    assert [(p.text, p.locations, p.path) for p in picture.passages] == [
        ("same", 3, "a/0.md"),
        ("other", 1, "c/2.md"),
    ]


def test_what_no_document_has_is_no_point(tmp_path: Path) -> None:
    """An interrupted run leaves passages that the next one may use."""
    made(tmp_path / "c.db", ["one", "two", "three"])
    store = Store(tmp_path / "c.db")
    store._connection.execute("DELETE FROM document WHERE path LIKE '%1.md'")
    store.close()
    assert [passage.text for passage in draw(tmp_path / "c.db").passages] == ["one", "three"]


def test_beginnings(tmp_path: Path) -> None:
    texts = ["x" * 500, "x" * 501, "a  \n\t b" * 80, " " * 30_000 + "late", "é" * 600]
    made(tmp_path / "c.db", texts)
    found = [passage.text for passage in draw(tmp_path / "c.db").passages]
    assert found == [
        "x" * 500,
        "x" * 500 + "…",
        " ".join(texts[2].split()),
        "…",
        "é" * 500 + "…",
    ]


@pytest.mark.slow
def test_mistakes_are_one_line(jlocal, tmp_path: Path) -> None:
    made(tmp_path / "notes.db")
    (tmp_path / "text.db").write_text("no database, but long enough to be read as one " * 9)
    Store(tmp_path / "empty.db", create=True).close()
    (tmp_path / "map.html").write_text("before")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    no_umap = "import sys; sys.modules['umap'] = None"
    for arguments, status, message, before in (
        (("-d", "none.db"), 1, "no such file: none.db; make it with", ""),
        (("-d", "text.db"), 1, "is not a collection of jlocal", ""),
        (
            ("-d", "empty.db"),
            1,
            "empty.db is empty; fill it with: jlocal index FOLDER -d empty.db",
            "",
        ),
        (("-d", "notes.db", "-o", "no/map.html"), 1, "cannot write no/map.html", ""),
        (("-d", "notes.db", "-o", "."), 1, "a folder; name a file", ""),
        (("-d", "notes.db", "-o", "./notes.db"), 2, "that is the collection itself", ""),
        (
            ("-d", "notes.db", "--color", "folder", "--clusters", 2),
            2,
            "cannot be combined with",
            "",
        ),
        (("-d", "notes.db", "--clusters", MAX_GROUPS + 1), 2, "13 is too large", ""),
        (("-d", "notes.db", "--method", "umap"), 1, "pip install 'jlocal[map]'", no_umap),
    ):
        output = () if "-o" in arguments else ("-o", "map.html")
        done = jlocal(*arguments, *output, before=before)
        assert (done.returncode, done.stdout) == (status, ""), arguments
        assert message in done.stderr
        assert len([line for line in done.stderr.splitlines() if line.startswith("Error: ")]) == 1
        assert "Traceback" not in done.stderr
        left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert left == kept, arguments


def test_vectors_that_are_no_numbers(tmp_path: Path) -> None:
    vectors = around(1, 4, 16)
    vectors[2, 3] = np.nan
    made(tmp_path / "c.db", list("abcd"), vectors)
    with pytest.raises(CollectionError, match="damaged"):
        draw(tmp_path / "c.db")


@pytest.mark.slow
def test_umap_keeps_neighbours(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "notes.db")
    # numba would unpickle what it finds in the folder for compiled code.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / ".numba_config.yaml").write_text(f"cache_dir: {tmp_path / 'code'}\n")
    picture = draw(tmp_path / "notes.db", method="umap")
    assert not recwarn.list
    assert picture.layout.startswith("UMAP over cosines: neighbours stay neighbours;")
    distances = np.linalg.norm(picture.points[:, None] - picture.points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    groups = np.array(picture.group_of)
    assert (groups[distances.argmin(axis=1)] == groups).mean() > 0.95
    vectors = around(3, 20, 16)
    assert list((tmp_path / "code").iterdir()) == []
    (tmp_path / ".numba_config.yaml").unlink()
    np.testing.assert_array_equal(lay_out(vectors, 0), lay_out(vectors, 0))
    for few in (5, 6, 20):
        assert np.isfinite(lay_out(vectors[:few], 0)).all()


def test_groups_have_colours() -> None:
    style = colours()
    for number in range(MAX_GROUPS):
        assert len(re.findall(rf"--c{number}: #[0-9a-f]{{6}};", style)) == 2, "light and dark"
    assert f"--c{MAX_GROUPS}:" not in style
    parameters = {parameter.name: parameter.type for parameter in command.params}
    assert parameters["clusters"].max == MAX_GROUPS

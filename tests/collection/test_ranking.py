"""Ranking in a store: codes and candidates find what comparing everything finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from jlocal import CollectionError
from jlocal.collection.chunking.chunks import whole
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.codes import Bits, pack
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import Ids, digest_of
from jlocal.collection.search.nearest import agreement, all_cosines, nearest_by_codes
from jlocal.collection.search.ranking import search
from jlocal.vectors import normalize
from support.collection_files import CountingStore, config_for


def made(path: Path, groups: int, each: int, dimensions: int = 256) -> tuple[Store, np.ndarray]:
    """Make a store of documents with as many passages each, around directions of their own."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((groups, 1, dimensions))
    spread = rng.standard_normal((groups, each, dimensions)) * 0.7
    vectors = normalize((centres + spread).reshape(-1, dimensions).astype(np.float32))
    store = Store(path, create=True)
    store.set_config(config_for(dimensions))
    batch = Batch()
    for group in range(groups):
        chunks = []
        for number in range(each):
            text = f"{group} {number}"
            digest = digest_of(text)
            batch.passages[digest] = ("", text, vectors[group * each + number])
            chunks.append((0, whole(text, number + 1), digest))
        # A key is made of record and start.
        chunks = [(0, type(c)(n, n + 1, c.first_line, c.last_line, c.text), d)
                  for n, (_, c, d) in enumerate(chunks)]  # fmt: skip
        batch.entries.append(
            Entry(f"/d/{group % 7}/{group}.md", None, digest_of(str(group)), chunks)
        )
    store.write(batch)
    return store, vectors


def fill(store: Store, vectors: np.ndarray) -> None:
    """Write a document of one passage for each vector."""
    store.set_config(config_for(vectors.shape[1]))
    batch = Batch()
    for number, vector in enumerate(vectors):
        digest = digest_of(str(number))
        batch.passages[digest] = ("", str(number), vector)
        batch.entries.append(
            Entry(f"/d/{number}.md", None, digest, [(0, whole(str(number)), digest)])
        )
    store.write(batch)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "each"), [(600, 20), (6, 2000)])
def test_codes_find_what_comparing_everything_finds(tmp_path: Path, groups: int, each: int) -> None:
    store, vectors = made(tmp_path / "c.db", groups, each)
    found = 0
    for query in vectors[:: len(vectors) // 40][:40]:
        exact = search(store, query, 10, exact=True)
        quick = search(store, query, 10, exact=False)
        assert len(exact) == min(10, groups)
        assert len(quick) == len(exact), "enough documents, although one has most candidates"
        assert [h.score for h in exact] == sorted((h.score for h in exact), reverse=True)
        assert exact[0].text == quick[0].text
        assert len({hit.path for hit in quick}) == len(quick)
        found += len({h.path for h in exact} & {h.path for h in quick}) / len(exact)
        # By hand
        scores = (vectors @ query).reshape(groups, each).max(axis=1)
        np.testing.assert_allclose(
            [hit.score for hit in exact], np.sort(scores)[::-1][: len(exact)], rtol=1e-5
        )
    # Nine of the ten are random directions, of which codes say least.
    assert found / 40 >= 0.95, found / 40
    store.close()


@pytest.mark.slow
def test_filters(tmp_path: Path) -> None:
    store, vectors = made(tmp_path / "c.db", 700, 3)
    for exact in (True, False):
        hits = search(store, vectors[0], 2000, "/d/3/*", exact=exact)
        assert len(hits) == 100
        assert all(hit.path.startswith("/d/3/") for hit in hits)
        assert search(store, vectors[0], 5, "3/*", exact=exact) == hits[:5]
        assert search(store, vectors[0], 5, "0.md", exact=exact)[0].path == "/d/0/0.md"
        assert search(store, vectors[0], 5, "nothing", exact=exact) == []
        limit = hits[7].score
        least = search(store, vectors[0], 2000, "3/", limit, exact=exact)
        assert least == hits[:8]
        assert len(search(store, vectors[0], 2000, exact=exact)) == 700
    store.close()


class WithoutCodes(Store):
    """A store in which codes find nothing."""

    def codes(self) -> Iterator[tuple[Ids, Bits]]:
        return iter(())


@pytest.mark.slow
def test_more_passages_are_looked_at_by_their_codes(tmp_path: Path) -> None:
    store, vectors = made(tmp_path / "c.db", 2501, 2, 32)
    store.close()
    store = WithoutCodes(tmp_path / "c.db")
    assert store.count_passages() == 5002
    assert search(store, vectors[0], 5) == []
    store.write(Batch(removed=["/d/0/0.md"]))
    assert store.count_passages() == 5000
    assert len(search(store, vectors[0], 5)) == 5
    store.close()


@pytest.mark.parametrize("dimensions", [8, 32, 100, 1024])
def test_agreement(dimensions: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((50, dimensions)).astype(np.float32)
    codes, query = pack(vectors), vectors[3]
    assert codes.shape == (50, -(-dimensions // 64))
    expected = np.where(vectors > 0, query, 0).sum(axis=1)
    np.testing.assert_allclose(agreement(codes, query), expected, rtol=1e-4, atol=1e-4)
    assert agreement(codes, query).argmax() == 3
    assert agreement(codes[:0], query).shape == (0,)


@pytest.mark.slow
def test_codes_tell_enough_where_a_few_components_hold_most(tmp_path: Path) -> None:
    """Vectors of models that can be cut are so; by the query's signs alone half would be found."""
    rng = np.random.default_rng(4)
    directions = rng.standard_normal((3030, 256)) / (1 + np.arange(256) / 8)
    directions[:, 0] += 1
    vectors = normalize(directions.astype(np.float32))
    store = Store(tmp_path / "c.db", create=True)
    fill(store, vectors[:3000])
    found = 0
    for query in vectors[3000:]:
        exact, quick = (
            set(ids[np.argsort(-cosines)][:10])
            for ids, cosines, *_ in (
                all_cosines(store, query, None),
                nearest_by_codes(store, query, None, 800),
            )
        )
        found += len(exact & quick)
    assert found / 300 >= 0.95, found / 300
    store.close()


def fail(store: Store) -> None:
    """Write, read what is not written for good, and fail."""
    with store._transaction() as connection:
        connection.execute("DELETE FROM document")
        assert store.count_documents() == 0
        raise RuntimeError


@pytest.mark.parametrize("exact", [True, False])
def test_an_open_file_finds_what_was_written_since(tmp_path: Path, *, exact: bool) -> None:
    def paths(query: np.ndarray) -> list[str]:
        return [hit.path for hit in search(reader, query, 2, exact=exact)]

    reader, vectors = made(tmp_path / "c.db", 40, 3)
    query = vectors[0]
    assert paths(query) == paths(query)
    assert paths(query)[0] == "/d/0/0.md"
    writer = Store(tmp_path / "c.db")
    for store in (writer, reader):
        store.write(Batch(removed=[paths(query)[0]]))
        assert reader.count_documents() == reader.count_passages() // 3
        found = paths(query)
        assert len(found) == 2
        assert "/d/0/0.md" not in found
        nearest = normalize((query + vectors[3])[None].astype(np.float32))[0]
        text = f"new {store is reader}"
        digest = digest_of(text)
        chunks = [(0, whole(text), digest)]
        store.write(Batch({digest: ("", text, nearest)}, [Entry(f"/{text}", None, digest, chunks)]))
        assert paths(nearest)[0] == f"/{text}"
        store.write(Batch(removed=[f"/{text}"]))
        assert f"/{text}" not in paths(nearest)
    with pytest.raises(RuntimeError):
        fail(writer)
    assert writer.count_documents() == reader.count_documents() == 38
    reader.close()
    writer.close()


@pytest.mark.slow
def test_a_code_that_no_query_chooses_is_checked_once_after_each_change(tmp_path: Path) -> None:
    """Its passage would never be found, so one code of each block is compared with its vector."""
    store, vectors = made(tmp_path / "c.db", 3000, 1)
    search(store, vectors[-1], 5, exact=False)
    with Store(tmp_path / "c.db")._transaction() as connection:
        block, bits = connection.execute("SELECT min(block), bits FROM code").fetchone()
        opposite = np.packbits(vectors[-1] <= 0).tobytes()
        connection.execute(
            "UPDATE code SET bits = ? WHERE block = ?", (opposite + bits[len(opposite) :], block)
        )
    for _ in range(2):
        with pytest.raises(CollectionError, match="a code is not that of its vector"):
            search(store, vectors[-1], 5, exact=False)
    store.close()


def test_the_background_is_read_once(tmp_path: Path) -> None:
    store, vectors = made(tmp_path / "c.db", 1500, 1)
    store.close()
    store = CountingStore(tmp_path / "c.db")

    def nearest(allowed: Ids | None = None) -> list[np.ndarray]:
        return list(nearest_by_codes(store, vectors[0], allowed, 400))

    first = nearest()
    assert len(store.counts) == 2
    store.counts.clear()
    for array, again in zip(first, nearest(), strict=True):
        np.testing.assert_array_equal(array, again)
    assert store.counts == [400]
    # A filter has a background of its own.
    store.counts.clear()
    nearest(first[0])
    assert len(store.counts) == 2
    store.close()


class SmallCache(Store):
    """A store that caches less than the codes of 3,000 passages."""

    most_cached = 100_000


@pytest.mark.slow
def test_only_so_much_of_a_file_is_kept_in_memory(tmp_path: Path) -> None:
    store, vectors = made(tmp_path / "c.db", 3000, 4)
    paths = [hit.path for hit in search(store, vectors[0], 5, exact=False)]
    assert len(store._kept["codes"]) == 2
    assert [hit.path for hit in search(store, vectors[0], 5, exact=False)] == paths
    store.close()
    store = SmallCache(tmp_path / "c.db")
    store.write(Batch(removed=[paths.pop()]))
    assert [hit.path for hit in search(store, vectors[0], 4, exact=False)] == paths
    assert "codes" not in store._kept
    store.close()


def test_each_passage_has_its_first_places(tmp_path: Path) -> None:
    """One that stands in very many documents takes no place from the others."""
    store = Store(tmp_path / "c.db", create=True)
    store.set_config(config_for(32))
    batch = Batch()
    for text, vector in zip(("common", "rare"), np.eye(2, 32, dtype=np.float32), strict=True):
        batch.passages[digest_of(text)] = ("", text, vector)
    for number in range(1, 1301):
        text = "rare" if number % 650 == 0 else "common"
        chunks = [(0, whole(text, number), digest_of(text))]
        batch.entries.append(Entry(f"/d/{number:04}", None, digest_of(str(number)), chunks))
    store.write(batch)
    store.use_path_filter(lambda path: path > "/d/0002")
    places: dict[int, list[str]] = {}
    for passage, _, place in store.locations(np.array([1, 2, 3]), 5):
        places.setdefault(passage, []).append(place.path)
        assert place.path == f"/d/{place.first_line:04}"
    assert sorted(places.values()) == [
        [f"/d/{number:04}" for number in range(3, 8)],
        ["/d/0650", "/d/1300"],
    ]
    store.close()

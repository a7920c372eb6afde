"""Keep texts with metadata in a collection, and search them by words, meaning and metadata."""

import tempfile
from pathlib import Path

from jlocal import Collection

TICKETS = {
    "T1": ("The printer in the hall prints blank pages.", {"team": "office", "year": 2024}),
    "T2": ("The login page shows an error after the update.", {"team": "web", "year": 2025}),
    "T3": ("Customers cannot sign in on their phones.", {"team": "web", "year": 2024}),
}

# A collection is one file; this one is deleted with its folder at the end.
with (
    tempfile.TemporaryDirectory() as folder,
    Collection(Path(folder) / "tickets.db", "starter") as tickets,
):
    texts, metadata = zip(*TICKETS.values(), strict=True)
    tickets.add(texts, ids=list(TICKETS), metadata=metadata)
    print(len(tickets), "tickets")
    print(tickets.search("empty sheets of paper", n=1)[0].id)
    print(tickets.search("login", n=1, where={"year": {"$gte": 2025}})[0].id)
    tickets.delete("T1")
    print(sorted(ticket.id for ticket in tickets.documents()))

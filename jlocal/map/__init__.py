"""Maps: a picture of a collection, in one web page that needs no network."""

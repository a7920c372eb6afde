"""Maps: a collection as a picture, in one web page that needs no network."""

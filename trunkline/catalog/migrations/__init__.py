"""How the catalog's tables came to be, revision by revision, up and down. Run by `database`."""

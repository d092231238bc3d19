"""The revisions, one for each schema; never edit one that has shipped."""

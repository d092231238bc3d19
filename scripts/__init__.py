"""Programs for those who work on Headway; none of them is shipped."""

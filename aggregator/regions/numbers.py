"""Names of a region's numbers in the store."""

# which history this is, how many different sums were reported, a digest of the last one, and one of the place
EPOCH, COUNTER, REPORTED, PLACE = "region_epoch", "region_counter", "region_reported", "region_place"

"""Work beside the daemons, or without any: over rows and bytes (gc, fsck), or over who may what."""

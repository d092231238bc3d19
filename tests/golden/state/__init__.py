"""State that agents and aggregators of earlier versions left on their disks, a folder per version."""

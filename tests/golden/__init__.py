"""Files written by earlier code, which every later code must read."""

-- Keys: token, meta. Returns what is there.
return present(KEYS[1], KEYS[2])

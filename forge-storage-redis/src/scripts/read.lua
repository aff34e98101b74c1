-- Reads a token. Keys: token, meta. Returns the content.
return present(KEYS[1], KEYS[2])

package config

// followsRouter says that the system tells which is the default gateway.
const followsRouter = true

//go:build !linux

package config

// followsRouter says that the system does not tell which is the default gateway.
const followsRouter = false

//go:build !race

package blocklists

const raced = false

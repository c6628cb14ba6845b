//go:build race

package matcher

// raced is whether the race detector is on: it makes work of a second take ten.
const raced = true

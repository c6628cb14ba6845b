package config

import (
	_ "embed"
	"slices"
)

//go:embed telltale.yaml
var example []byte

// Example returns a commented settings file with every key in it, which loads
// as it is and changes nothing.
func Example() []byte { return slices.Clone(example) }

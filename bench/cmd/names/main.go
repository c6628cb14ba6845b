// Command names writes made-up domain names that look like those of block
// lists, one a line.
package main

import (
	"flag"
	"fmt"
	"os"

	"telltale/bench/names"
)

func main() {
	n := flag.Int("n", 600_000, "how many names")
	seed := flag.Uint64("seed", 1, "the same seed gives the same names")
	flag.Parse()
	if err := names.Generate(*n, *seed, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
		os.Exit(1)
	}
}

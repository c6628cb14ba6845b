// Command bench measures Telltale from outside, beside other servers and the
// limit of the machine, and writes what it finds as a page. It is started by
// bench/run.sh and bench/edits.sh, which see to the programs it needs.
//
//	bench compare        everything of docs/benchmarks.md
//	bench edits          list files edited under load: nothing lost, nothing wrong
//	bench names FILE...  what the names of block lists look like
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what: compare, edits, or names and its files")
	}
	if args[0] == "names" {
		return describeFiles(args[1:])
	}
	settings, err := readSettings()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, settings.limit, errLimit)
	defer cancel()
	b, err := newBench(ctx, settings)
	if err != nil {
		return err
	}
	defer b.close()
	switch args[0] {
	case "compare":
		err = b.compare()
	case "edits":
		err = b.edits()
	default:
		err = fmt.Errorf("%q is neither compare, edits nor names", args[0])
	}
	if cause := context.Cause(ctx); cause != nil && !(args[0] == "compare" && errors.Is(cause, errLimit)) {
		return fmt.Errorf("stopped before the end (%w)", cause)
	}
	return err // what the limit has cut off, the page says
}

// Telltale is a DNS server that does not answer for vendors' telemetry, and
// keeps the evidence of who asked.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"telltale/config"
)

// version is set when a release is built (-ldflags "-X main.version=...").
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Environ()))
}

// A cli is what the commands have in common.
type cli struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	json     bool
	allNodes bool // the merged log of a fleet is read
	serving  bool // this is serve
	warned   bool // load has told of mistakes in the settings
	root     *cobra.Command
}

// errSilent ends a command with exit status 1 when all has been said.
var errSilent = errors.New("")

// command runs one command line and returns its exit status: 0, 1 for a failure,
// 2 for a wrong command line, 3 for a bundle of which nobody knows whose it is.
func command(ctx context.Context, args []string, out, err io.Writer, env []string) int {
	return commandWith(ctx, os.Stdin, args, out, err, env)
}

// commandWith is command with somebody who answers what it asks.
func commandWith(ctx context.Context, in io.Reader, args []string, out, err io.Writer, env []string) int {
	cl := &cli{in: in, out: out, err: err, env: env}
	cl.root = cl.newRoot()
	cl.root.SetArgs(args)
	cl.root.SetOut(out)
	cl.root.SetErr(err)
	switch c, e := cl.root.ExecuteContextC(ctx); {
	case e == nil:
		return 0
	case errors.Is(e, errUsage), strings.HasPrefix(e.Error(), "unknown command"): // cobra's own
		fmt.Fprintf(err, "telltale: %v\nSee '%s --help'.\n", e, c.CommandPath())
		return 2
	case e == errKeyUnknown:
		return exitKeyUnknown
	case e != errSilent:
		fmt.Fprintf(err, "telltale: %v\n", e)
	}
	return 1
}

// errUsage marks mistakes of the command line.
var errUsage = errors.New("wrong command line")

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

func (cl *cli) newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "telltale",
		Short: "A DNS server that does not answer for vendors' telemetry, and logs who asked",
		Long: `Telltale is a DNS server for your network. It resolves like any other, does not
answer for the names vendors use for telemetry, and keeps a log of which device
asked for which of them, when and how often.

Set it as your router's DNS server, edit the lists as plain files, read the log.`,
		Version:       versionDetails(),
		SilenceErrors: true, SilenceUsage: true,
	}
	root.InitDefaultVersionFlag() // cobra makes it too late to know that it takes no value; a template of ours would add 3 MB
	root.SetUsageFunc(showUsage)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	config.AddFlags(root.PersistentFlags())
	completeSettings(root)
	root.AddCommand(
		cl.newServe(), cl.newValidate(), cl.newSettings(), cl.newLog(), cl.newWatch(), cl.newTop(), cl.newReport(), cl.newRhythm(), cl.newLedger(), cl.newStatus(), cl.newUpstreams(), cl.newCache(), cl.newExplain(), cl.newBroke(), cl.newQuery(), cl.newDevices(), cl.newCoverage(), cl.newClientID(), cl.newCertificate(), cl.newLists(),
		cl.newAllow(), cl.newBlock(), cl.newCatalog(), cl.newPause(), cl.newObserve(), cl.newResume(), cl.newDoctor(), cl.newHealthcheck(), cl.newBackup(), cl.newRestore(), cl.newInstall(), cl.newVersion(),
		cl.newNote(), cl.newExport(), cl.newEvidence(), cl.newFleet(),
	)
	root.AddCommand(cl.newFullCommands()...)
	checkGroups(root)
	return root
}

// load reads the settings that the command line, the environment and the file
// give together. A command other than serve that is not told which settings are
// meant takes those of the server that this user runs. Where the settings have
// mistakes it takes, with a warning, those that worked last: a server that goes on
// with them can be asked.
func (cl *cli) load() (*config.Config, error) {
	cfg, mistakes := cl.loadStrictly()
	if mistakes == nil {
		return cfg, nil
	}
	cfg, err := cl.loadLastGood()
	if err != nil {
		return nil, mistakes
	}
	if !cl.warned {
		cl.warned = true
		fmt.Fprintf(cl.err, "telltale: the settings have mistakes, and those that worked last are used:\n%v\n", mistakes)
	}
	return cfg, nil
}

// loadStrictly is load that takes no other settings where those on disk have
// mistakes.
func (cl *cli) loadStrictly() (*config.Config, error) {
	path, env, err := cl.source()
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(path, cl.root.PersistentFlags(), env)
	if err == nil {
		err = localMistakes(cfg)
	}
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

// loadLastGood reads the settings that worked last.
func (cl *cli) loadLastGood() (*config.Config, error) {
	path, env, err := cl.source()
	if err != nil {
		return nil, err
	}
	return config.LoadLastGood(path, cl.root.PersistentFlags(), env, cl.dataDirInUse(path))
}

// source returns where settings come from beside the flags.
func (cl *cli) source() (path string, env []string, err error) {
	env = cl.env
	if !cl.serving {
		if env, err = cl.follow(); err != nil {
			return "", nil, err
		}
	}
	path, err = cl.root.PersistentFlags().GetString("config")
	return path, env, err
}

// addJSON adds --json to a command that has output.
func (cl *cli) addJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&cl.json, "json", false, "print JSON")
	return c
}

// noArgs, oneArg: cobra's own, as mistakes of the command line.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%q is not expected here", args[0])
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("exactly one %s is expected", what)
		}
		return nil
	}
}

// buildVersion returns the version of this binary.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
)

func (cl *cli) newServe() *cobra.Command {
	profile := ""
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer DNS queries, until told to stop",
		Long: `Answer DNS queries by the lists, the cache and the upstreams, and log who asked.

Settings come from the file (--config, TELLTALE_CONFIG, or ` + config.DefaultFile + `),
from the environment (TELLTALE_LISTEN_DNS and so on), and from the flags below.
Without any, Telltale answers on port 53 of all addresses, asks the system's
resolvers, and blocks what the shipped lists call telemetry. List files and
settings are watched: save a file, and it is in force.`,
		Example: `  telltale serve
  telltale serve --listen-dns 127.0.0.1:5300 --upstreams 192.0.2.53:53 --data-dir ./data --lists-dir ./lists.d`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			stop, err := profileTo(profile)
			if err != nil {
				return err
			}
			return errors.Join(cl.serve(c.Context(), (*app).lowerOtherThreads), stop())
		},
	}
	c.Flags().StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file at the end, for those who make Telltale faster")
	c.Flags().MarkHidden("cpuprofile")
	return c
}

// profileTo begins a CPU profile, and returns what ends it. No file, no profile.
func profileTo(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// serve runs the server until ctx ends. ready is called once it
// answers.
func (cl *cli) serve(ctx context.Context, ready func(*app)) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // before it could end a start
	defer signal.Stop(hangups)
	cl.serving = true
	grow(cl.env, startGrowth)
	cfg, broken, err := cl.startSettings()
	if err != nil {
		return err
	}
	logger, level, err := cl.newLogger(cfg)
	if err != nil {
		return err
	}
	slog.SetLogLoggerLevel(slog.LevelDebug) // what libraries say by package log
	slog.SetDefault(logger)
	// A reader holds a processor of Go's scheduler while it looks for packets:
	// leave two for all others.
	if n := 4; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	boundMemory(cl.env, logger)
	a, err := build(cfg, cl.loadStrictly, logger, level)
	if err != nil {
		return errors.Join(broken, err)
	}
	if broken != nil {
		a.startedWithLastGood(cfg, broken)
	} else {
		a.keepLastGood(cfg)
		a.warnOfListNames(cfg)
	}
	a.reportECH(&config.Config{}, a.cfg.Load())
	control, err := a.listenControl()
	if errors.Is(err, errAnswered) {
		a.close()
		return err
	}
	if err != nil {
		logger.Error("pause, lists, devices and doctor cannot ask this server", "error", err)
	}
	if !small {
		change, err := a.prepareListeners(&config.Config{}, a.cfg.Load())
		if err != nil {
			if control != nil {
				control.close()
			}
			return errors.Join(err, a.close())
		}
		change.commit()
	}
	ctx, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	path, _ := cl.root.PersistentFlags().GetString("config")
	listsIn := func() string { return strings.Join(fileNames(cfg.Lists.Dir), "/") } // by which names may be right now
	tasks.Go(func() { config.Watch(ctx, path, cl.env, cfg, listsIn, a.watchFailed, func() { a.reload() }) })
	tasks.Go(func() { a.reloadOn(ctx, hangups) })
	tasks.Go(func() { a.followDeviceNames(ctx) })
	tasks.Go(func() { a.blocked.Run(ctx) })
	tasks.Go(func() { a.expireSearches(ctx) })
	a.server.Start()
	a.ledger.Load().SetReverse(a.reverseLookup(cfg))
	tasks.Go(func() { a.fetch(ctx) })
	tasks.Go(func() { a.resumeForgetting(ctx) })
	tasks.Go(func() { a.findingsHourly(ctx) })
	tasks.Go(func() { a.makeReports(ctx) })
	tasks.Go(func() { a.sendCheckpoints(ctx) })
	tasks.Go(func() { a.followFleet(ctx) })
	if !small {
		tasks.Go(func() { a.alerts.Run(ctx) })
		tasks.Go(func() { a.askDestinationsNightly(ctx) })
	}
	if !small && a.acme != nil {
		tasks.Go(func() { a.acme.Run(ctx) })
	}
	withdraw, err := cl.announce(cfg.Data.Dir)
	if err != nil {
		logger.Debug("other commands need to be told the settings of this server", "error", err)
	} else {
		defer withdraw()
	}
	a.welcome(cl, err == nil)
	ready(a)
	settle(cl.env)
	<-ctx.Done()
	stop()
	a.stopBackground()
	if control != nil {
		control.close()
	}
	if a.network != nil {
		a.network.close()
	}
	tasks.Wait()
	a.closeSearches()
	a.work.Wait()
	return a.close()
}

// startSettings reads the settings of a start. Where they have mistakes it returns
// the settings that worked last, and the mistakes as broken.
func (cl *cli) startSettings() (cfg *config.Config, broken, err error) {
	if cfg, broken = cl.loadStrictly(); broken == nil {
		return cfg, nil, nil
	}
	cfg, err = cl.loadLastGood()
	switch {
	case errors.Is(err, config.ErrNoLastGood):
		return nil, nil, broken
	case err != nil:
		return nil, nil, errors.Join(broken, err)
	}
	return cfg, broken, nil
}

// startedWithLastGood says that other settings are in force than those on disk.
func (a *app) startedWithLastGood(cfg *config.Config, broken error) {
	a.refused.Store(broken.Error())
	a.logger.Error("THE SETTINGS HAVE MISTAKES: those that worked last are in force instead", "kept", cfg.LastGood, "error", broken)
	a.log.Report("config-last-good", "settings", fmt.Sprintf("in force are those kept %s, since today's have mistakes: %v", cfg.LastGood.Format(time.RFC3339), broken))
}

// warnOfListNames says which names of lists are mistakes. They do not end a start:
// a list file may have been removed since the settings were written.
func (a *app) warnOfListNames(cfg *config.Config) {
	if err := listNameMistakes(cfg); err != nil {
		a.refused.Store(err.Error())
		a.logger.Error("settings of lists that are not there do nothing", "error", err)
	}
}

// reloadOn reads the settings anew at each of the signals.
func (a *app) reloadOn(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			a.logger.Info("SIGHUP: the settings and the lists are read again")
			a.reload()
			if err := a.applyLists(); err != nil {
				a.logger.Error("the lists stay as they were", "error", err)
			}
		}
	}
}

// newLogger returns what Telltale speaks of itself by, on standard error.
func (cl *cli) newLogger(cfg *config.Config) (*slog.Logger, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(cfg.Messages.Level)); err != nil {
		return nil, nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Messages.Format == "json" {
		return slog.New(slog.NewJSONHandler(cl.err, options)), level, nil
	}
	return slog.New(slog.NewTextHandler(cl.err, options)), level, nil
}

// welcome says where the server answers, and what to type next. found says that
// other commands of this user find its settings without flags.
func (a *app) welcome(cl *cli, found bool) {
	cfg := a.cfg.Load()
	on := a.listensOn()
	rules := 0
	for _, l := range a.lists.Status() {
		rules += l.Rules
	}
	fmt.Fprintf(cl.out, "Telltale %s answers on %s with %d rules.\n", buildVersion(), strings.Join(on, ", "), rules)
	if len(on) == 0 {
		return
	}
	at := a.server.Addrs()[0]
	server := at.Addr()
	if server.IsUnspecified() {
		server = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	self, flags := cl.self()
	if found {
		flags = ""
	}
	fmt.Fprintf(cl.out, `
See a block:       dig @%s -p %d data.mistat.xiaomi.com
See who asked:     %s log%s
See why:           %s explain data.mistat.xiaomi.com%s
Your own rules:    %s
`, server, at.Port(), self, flags, self, flags, filepath.Join(cfg.Lists.Dir, ownFile))
	a.welcomeToConsole(cl.out)
}

// self returns how to call this binary, and the flags that lead another command
// to the same settings.
func (cl *cli) self() (command, flags string) {
	command = ownCommand()
	for _, name := range []string{"config", "data-dir", "lists-dir", "cache-dir", "control-socket"} {
		if f := cl.root.PersistentFlags().Lookup(name); f != nil && f.Changed {
			flags += " --" + name + " " + f.Value.String()
		}
	}
	return command, flags
}

// ownCommand returns what to type for this binary: its name where the shell finds
// it, else its place.
func ownCommand() string {
	exe, err := os.Executable()
	if err != nil {
		return "telltale"
	}
	if found, err := exec.LookPath(filepath.Base(exe)); err == nil && found == exe {
		return filepath.Base(exe)
	}
	dir, err := os.Getwd()
	if err != nil {
		return exe
	}
	if rel, err := filepath.Rel(dir, exe); err == nil && !strings.HasPrefix(rel, "..") {
		return "./" + rel
	}
	return exe
}

// lowerOtherThreads is for a process that is this server alone.
func (a *app) lowerOtherThreads() { a.server.LowerOtherThreads() }

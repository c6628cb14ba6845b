package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/evidence/alert"
	"telltale/querylog"
	"telltale/web"
)

// alertsFile keeps alerts in data.dir.
const alertsFile = "alerts.json"

func alertsPath(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, alertsFile) }

func (a *app) alertOptions(cfg *config.Config) alert.Options {
	return alert.Options{
		Path: alertsPath(cfg), Node: nodeName(cfg), Began: a.started, Logger: a.logger, Open: a.openForAlerts,
		Settings: func() alert.Settings {
			cfg := a.cfg.Load()
			places := alertPlaces(cfg, a.dial)
			if cfg.Alerts.Log {
				places = append(places, alert.NewLog(a.logger))
			}
			s := &cfg.Alerts
			return alert.Settings{Tell: s.Tell, AtOnce: s.AtOnce, Next: s.Digest.Next, Coverage: s.Coverage, Places: places}
		},
	}
}

// openForAlerts opens the log as it is now.
func (a *app) openForAlerts(ctx context.Context) (*alert.Source, error) {
	l, err := a.openLog(ctx, a.cfg.Load())
	if err != nil {
		return nil, err
	}
	return &alert.Source{Log: l.Reader, Today: l.ids.now, Name: l.ids.called, Ignored: l.ids.view.Ignored, Planned: l.plannedDevice, Close: l.Close}, nil
}

// alertPlaces are the places of the settings but for the messages of a server.
func alertPlaces(cfg *config.Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) (all []alert.Place) {
	s, way := &cfg.Alerts, alert.Way{Dial: dial, Agent: agent()}
	if s.Webhook.URL != "" {
		all = append(all, alert.NewWebhook(s.Webhook.URL, s.Webhook.Secret, way))
	}
	if s.Ntfy.URL != "" {
		all = append(all, alert.NewNtfy(s.Ntfy.URL, s.Ntfy.Token, way))
	}
	if m := &s.MQTT; m.Server != "" {
		all = append(all, alert.NewMQTT(alert.MQTT{Server: m.Server, User: m.User, PasswordFile: m.Password, Topic: m.Topic, Discovery: m.Discovery, Node: nodeName(cfg)}, way))
	}
	if m := &s.SMTP; m.Server != "" {
		all = append(all, alert.NewSMTP(alert.SMTP{Server: m.Server, From: m.From, To: m.To, User: m.User, PasswordFile: m.Password, Clear: m.InOwnNetwork()}, way))
	}
	return all
}

func (a *app) alertStatus() []web.AlertPlace {
	all := []web.AlertPlace{}
	if small {
		return all
	}
	for _, st := range a.alerts.Status() {
		all = append(all, web.AlertPlace{Name: st.Name, To: st.To, Waiting: st.Waiting, Time: timeOrNil(st.Time), Problem: st.Problem, Since: timeOrNil(st.Since), Late: st.Late})
	}
	return all
}

// alerts says which places alerts do not get to.
func (d *doctor) alerts(st *web.Status) {
	for i := range st.Alerts {
		p := &st.Alerts[i]
		switch {
		case p.Late:
			d.finds(stateWarning, "alerts-failed", p.Name, fmt.Sprintf("%s (%s) takes no alerts since %s, and %s: %s", p.Name, p.To, when(*p.Since), waiting(p.Waiting), p.Problem),
				fmt.Sprintf("put that right, there or in alerts.%s (docs/evidence.md); 'telltale alerts --test' tries it", p.Name))
		case p.Problem != "":
			d.says("alerts", "%s (%s) did not take the last ones, which are sent again: %s", p.Name, p.To, p.Problem)
		case p.Name != "log" || p.Waiting > 0:
			d.says("alerts", "go to %s (%s): %s", p.Name, p.To, waiting(p.Waiting))
		}
	}
}

func waiting(n int) string {
	if n == 1 {
		return "1 waits"
	}
	return fmt.Sprintf("%d wait", n)
}

// forgetAlerts removes the alerts in which a device is.
func (a *app) forgetAlerts(f *forgetting) error {
	if small { // those of a full program are all that is kept
		if err := os.Remove(alertsPath(a.cfg.Load())); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	words := slices.DeleteFunc(slices.Clone(f.Words), func(w string) bool { return !querylog.IsTelling(w) })
	return a.alerts.Forget(f.whole(), words)
}

func (cl *cli) newAlerts() *cobra.Command {
	test, tz := false, ""
	c := cl.addJSON(&cobra.Command{
		Use:   "alerts",
		Short: "Show what the server told by itself, and try whether it arrives",
		Long: `Show the alerts that the settings ask for (alerts.tell): when each was, what happened, the
command that shows what it rests on, and which places have not taken it yet. The last
thousand are kept. It works with the server stopped, too.

With --test, send a message that says that it is a test to each place of the settings
(webhook, ntfy, mqtt, smtp), and say what came of it. The secrets are read as this user.

docs/evidence.md says what each alert means and what it does not.`,
		Example: "  telltale alerts\n  telltale alerts --json\n  telltale alerts --test",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			zone, err := parseZone(tz)
			if err != nil {
				return usage("--tz: %v", err)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if test {
				return cl.testAlerts(c.Context(), cfg)
			}
			return cl.showAlerts(cfg, zone)
		},
	})
	c.Flags().StringVar(&tz, "tz", "", "the zone in which times are shown, such as Europe/Berlin (default: the machine's); texts have that in which they were written")
	c.Flags().BoolVar(&test, "test", false, "send a message to each place of the settings, and say what came of it")
	return c
}

func (cl *cli) showAlerts(cfg *config.Config, zone *time.Location) error {
	all, err := alert.Read(alertsPath(cfg))
	if err != nil {
		return err
	}
	if cl.json {
		return cl.encoder().Encode(all)
	}
	if len(all) == 0 {
		said := "none yet"
		if len(cfg.Alerts.Tell) == 0 {
			said = "none: alerts.tell in the settings says what is told (docs/evidence.md)"
		}
		_, err := fmt.Fprintln(cl.out, said)
		return err
	}
	for i := range all {
		a := &all[i]
		fmt.Fprintf(cl.out, "%s  %s  %s\n", whenIn(a.Time.Time, zone), a.Kind, printable(a.Text))
		if len(a.Waits) > 0 {
			fmt.Fprintf(cl.out, "    still to be told: %s\n", strings.Join(a.Waits, ", "))
		}
		if _, err := fmt.Fprintf(cl.out, "    %s\n", printable(a.Command)); err != nil {
			return err
		}
	}
	return nil
}

// A triedPlace is what came of a test.
type triedPlace struct {
	Place string `json:"place"`
	To    string `json:"to"`
	Error string `json:"error,omitempty"`
}

// testAlerts sends a test to each place.
func (cl *cli) testAlerts(ctx context.Context, cfg *config.Config) error {
	places := alertPlaces(cfg, new(net.Dialer).DialContext)
	if len(places) == 0 {
		return errors.New("the settings have no place to send alerts to: alerts.webhook, alerts.ntfy, alerts.mqtt and alerts.smtp are such")
	}
	m := alert.NewTest(nodeName(cfg), time.Now())
	tried, failed := []triedPlace{}, 0
	for _, p := range places {
		one := triedPlace{Place: p.Name, To: p.To}
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		if err := p.Send(limited, m); err != nil {
			one.Error = err.Error()
			failed++
		}
		cancel()
		tried = append(tried, one)
		if !cl.json && one.Error == "" {
			fmt.Fprintf(cl.out, "%s: %s has taken it\n", one.Place, printable(one.To))
		} else if !cl.json {
			fmt.Fprintf(cl.out, "%s: %s has not taken it: %s\n", one.Place, printable(one.To), printable(one.Error))
		}
	}
	if cl.json {
		if err := cl.encoder().Encode(tried); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d places took no alert", failed, len(places))
	}
	return nil
}

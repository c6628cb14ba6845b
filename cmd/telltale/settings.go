package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/web"
)

func (cl *cli) newSettings() *cobra.Command {
	all := false
	c := cl.addJSON(&cobra.Command{
		Use:   "settings [KEY]",
		Short: "Show the settings in force and where each is set, or change some",
		Long: `Show the settings that are not the default, or with --all every one: the value in
force, and where it is set. A value that waits for a restart is shown behind "next".

'settings set' and 'settings unset' change settings without an editor. They write
` + config.SettingsOverlayName + ` in lists.dir, whose keys take the place of those of the settings
file; that file itself is never written. Variables and flags go before both.`,
		Example: "  telltale settings\n  telltale settings --all\n  telltale settings blocking.ttl\n  telltale settings set blocking.ttl 30s",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one key at most is expected")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var s web.AllSettings
			err = newClient(cfg).get(c.Context(), "/settings", &s)
			if errors.Is(err, errStopped) || errors.Is(err, errForeign) {
				s, err = settingsOf(cfg, cfg), nil
			}
			if err != nil {
				return err
			}
			return cl.showSettings(s, all, args)
		},
	})
	c.Flags().BoolVar(&all, "all", false, "also those that are the default")
	c.AddCommand(cl.newSettingsSet(), cl.newSettingsUnset())
	return c
}

// showSettings prints the settings that are asked for.
func (cl *cli) showSettings(s web.AllSettings, all bool, keys []string) error {
	if len(keys) == 1 {
		key := strings.ToLower(keys[0])
		var known []string
		for i := range s.Settings {
			known = append(known, s.Settings[i].Key)
		}
		if !slices.Contains(known, key) {
			return unknown("setting", keys[0], known, "telltale settings --all")
		}
		s.Settings = slices.DeleteFunc(s.Settings, func(v web.Setting) bool { return v.Key != key })
	} else if !all && !cl.json {
		s.Settings = slices.DeleteFunc(s.Settings, func(v web.Setting) bool { return v.Source == config.FromDefault && v.Pending == nil })
	}
	if cl.json {
		return cl.encoder().Encode(s)
	}
	if s.Refused != "" {
		fmt.Fprintf(cl.err, "telltale: the settings on disk are not in force: %s\n", printable(s.Refused))
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	for i := range s.Settings {
		v := &s.Settings[i]
		where := v.Where
		if where == "" {
			where = v.Source
		}
		value := settingText(v.Value)
		if v.Secret && value != "" {
			value += "/..."
		}
		if v.Pending != nil {
			value += ", next " + settingText(v.Pending)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Key, printable(value), printable(where))
	}
	return w.Flush()
}

// settingText returns a value in a line.
func settingText(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case []string:
		return strings.Join(value, ", ")
	case []any:
		var all []string
		for _, v := range value {
			if text, is := v.(string); is {
				all = append(all, text)
				continue
			}
			text, err := json.Marshal(v)
			if err != nil {
				return err.Error()
			}
			all = append(all, string(text))
		}
		return strings.Join(all, ", ")
	}
	return fmt.Sprint(value)
}

func (cl *cli) newSettingsSet() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "set KEY VALUE...",
		Short: "Set a setting, in a file of Telltale's own",
		Long: `Set a setting. It is checked together with all others, and in force when this
command ends, or with the next start where it says so. A list is several values;
a list of entries, such as devices, is one value of JSON: a list of objects.
Files, directories, listen and web can be set in the settings file alone.`,
		Example: `  telltale settings set blocking.ttl 30s
  telltale settings set access.allow 198.51.100.0/24 2001:db8::/32
  telltale settings set devices '[{"name": "tv", "address": "192.168.1.20"}]'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage("a key and a value are expected")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			key := strings.ToLower(args[0])
			value, err := settingOf(args[1:])
			if err != nil {
				return usage("%s: %v", key, err)
			}
			return cl.changeSettings(c, web.SettingsChange{Set: map[string]any{key: value}})
		},
	})
}

func (cl *cli) newSettingsUnset() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "unset KEY",
		Short:   "Have a setting again as the settings file has it",
		Example: "  telltale settings unset blocking.ttl",
		Args:    oneArg("key"),
		RunE: func(c *cobra.Command, args []string) error {
			return cl.changeSettings(c, web.SettingsChange{Unset: []string{strings.ToLower(args[0])}})
		},
	})
}

// settingOf returns the value that words of a command line mean.
func settingOf(words []string) (any, error) {
	if len(words) > 1 {
		return words, nil
	}
	if text := strings.TrimSpace(words[0]); strings.HasPrefix(text, "[{") || strings.HasPrefix(text, `["`) || text == "[]" {
		var entries []any
		if err := json.Unmarshal([]byte(text), &entries); err != nil {
			return nil, fmt.Errorf("this is no JSON: %w", err)
		}
		return entries, nil
	}
	return words[0], nil
}

// changeSettings has the server change settings, or does so itself where none runs.
func (cl *cli) changeSettings(c *cobra.Command, change web.SettingsChange) error {
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	var out web.SettingsChanged
	err = newClient(cfg).do(c.Context(), http.MethodPatch, "/settings", change, &out)
	stopped := errors.Is(err, errStopped)
	if stopped {
		out, err = cl.writeSettings(change)
	}
	if err != nil {
		return err
	}
	if cl.json {
		return cl.encoder().Encode(out)
	}
	changed := slices.Concat(out.Live, out.Restart)
	switch {
	case len(changed) == 0:
		fmt.Fprintf(cl.out, "%s: nothing is another value than before\n", out.File)
	default:
		fmt.Fprintf(cl.out, "%s: %s changed\n", out.File, strings.Join(changed, ", "))
	}
	switch {
	case stopped:
		fmt.Fprintln(cl.err, "No server is running: the file is written, and in force once one starts.")
	case len(out.Restart) > 0:
		fmt.Fprintf(cl.out, "%s: in force with the next start of the server\n", strings.Join(out.Restart, ", "))
	}
	return nil
}

// writeSettings changes the overlay where no server runs.
func (cl *cli) writeSettings(change web.SettingsChange) (out web.SettingsChanged, err error) {
	cfg, err := cl.loadStrictly()
	if err != nil {
		return out, fmt.Errorf("the settings have mistakes, which must be put right first: %w", err)
	}
	text, would, err := settingsWith(cfg, change)
	if err != nil {
		return out, err
	}
	return saveSettings(cfg, text, would)
}

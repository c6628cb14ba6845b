package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/web"
)

// The commands web and token: who may use the API from the network.

func (cl *cli) newWeb() *cobra.Command {
	c := &cobra.Command{
		Use:   "web",
		Short: "Say who may use the console and the API from the network",
		Long: `Say who may use the console and the API from the network, where web.listen is set.
Each person has an account; programs have tokens ('telltale token'). A pass phrase is
set by a link, which its person opens in a browser: it works once, and for an hour.

A role says what an account may do:
  admin    everything
  viewer   see everything, and change nothing
  device   see what the devices given by --device asked for, and nothing else; with
           --may-pause also pause blocking for them

docs/web.md says how the console is turned on, also behind a reverse proxy.`,
	}
	c.AddCommand(cl.newWebLink(), cl.newWebAccounts(), cl.newWebAdd(), cl.newWebChange(), cl.newWebRemove())
	return c
}

func (cl *cli) newWebLink() *cobra.Command {
	account, qr := "", false
	c := &cobra.Command{
		Use:   "link",
		Short: "Make a link by which a person sets a pass phrase",
		Long: `Make a link that is opened in a browser: it makes an account that may do everything,
or with --account lets that account set another pass phrase, which ends its sessions and
its one-time codes. It works once, and for an hour; an earlier one of the same kind ends.`,
		Example: "  telltale web link\n  telltale web link --account anna",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var l web.Link
			if err := cl.askServer(c, http.MethodPost, "/links", web.NewLink{Account: account}, &l); err != nil {
				return err
			}
			return cl.showLink(&l, qr)
		},
	}
	c.Flags().StringVar(&account, "account", "", "of this account")
	c.Flags().BoolVar(&qr, "qr", false, "also draw it as a QR code")
	return cl.addJSON(c)
}

// askServer asks the running server.
func (cl *cli) askServer(c *cobra.Command, method, path string, body, v any) error {
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	return newClient(cfg).do(c.Context(), method, path, body, v)
}

func (cl *cli) showLink(l *web.Link, qr bool) error {
	if cl.json {
		return cl.encoder().Encode(l)
	}
	if len(l.URLs) == 0 {
		fmt.Fprintf(cl.out, "web.listen is not set, so that no browser can open a link. Once it is, the token below is asked for.\n%s\n", l.Token)
		return nil
	}
	what := "It makes an account that may do everything"
	if l.Account != "" {
		what = "It sets the pass phrase of " + l.Account
	}
	fmt.Fprintf(cl.out, "%s\n\n%s. Open it until %s: it works once.\n", strings.Join(l.URLs, "\n"), what, l.Until.Local().Format("15:04"))
	if !qr {
		return nil
	}
	drawn, err := drawQR(l.URLs[0], showsUTF8(cl.env), isTerminal(cl.out))
	if err == nil {
		_, err = fmt.Fprintf(cl.out, "\n%s", drawn)
	}
	return err
}

func (cl *cli) newWebAccounts() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "accounts",
		Short:   "Show who can log in",
		Long:    "Show which accounts there are, what they may do, and when they last logged in.",
		Example: "  telltale web accounts",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []web.Account
			if err := cl.askServer(c, http.MethodGet, "/accounts", nil, &all); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(all)
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(cl.out, "There is no account: 'telltale web link' makes the first.")
				return err
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tROLE\tLAST LOG-IN\tCODES\tDEVICES")
			for i := range all {
				a := &all[i]
				last := "never"
				switch {
				case a.Pending:
					last = "no pass phrase yet"
				case a.LastLogIn != nil:
					last = when(*a.LastLogIn)
				}
				seen := "all"
				if a.Role == "device" {
					seen = printable(strings.Join(a.Devices, ", "))
					if a.MayPause {
						seen += " (may pause)"
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Role, last, map[bool]string{true: "yes", false: "no"}[a.OneTime], seen)
			}
			return w.Flush()
		},
	})
}

// accountFlags adds what an account may do.
func (cl *cli) accountFlags(c *cobra.Command, s *web.AccountSettings) {
	f := c.Flags()
	f.StringVar(&s.Role, "role", "", "admin, viewer or device")
	f.StringArrayVar(&s.Devices, "device", nil, "with the role device: a device that it sees, by name, identity, MAC or address; may be given several times")
	f.BoolVar(&s.MayPause, "may-pause", false, "with the role device: it may pause blocking for these devices")
	complete(c, "role", "admin", "viewer", "device")
	completeBy(c, "device", cl.deviceWords)
}

func (cl *cli) newWebAdd() *cobra.Command {
	var s web.AccountSettings
	c := &cobra.Command{
		Use:     "add NAME --role ROLE",
		Short:   "Make an account, and a link that sets its pass phrase",
		Long:    "Make an account, and print a link by which its person sets a pass phrase. 'telltale web --help' says what the roles are.",
		Example: "  telltale web add ben --role viewer\n  telltale web add kim --role device --device \"Kim's tablet\" --may-pause",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			if s.Role == "" {
				return usage("--role is missing: admin, viewer or device")
			}
			var l web.Link
			if err := cl.askServer(c, http.MethodPost, "/accounts", web.NewAccount{Name: args[0], AccountSettings: s}, &l); err != nil {
				return err
			}
			return cl.showLink(&l, false)
		},
	}
	cl.accountFlags(c, &s)
	return cl.addJSON(c)
}

func (cl *cli) newWebChange() *cobra.Command {
	var s web.AccountSettings
	c := &cobra.Command{
		Use:     "change NAME --role ROLE",
		Short:   "Give an account another role, or other devices",
		Long:    "Give an account another role, or other devices. Its pass phrase stays, and its sessions go on with what it may do then.",
		Example: "  telltale web change kim --role device --device \"Kim's phone\"",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			if s.Role == "" {
				return usage("--role is missing: admin, viewer or device")
			}
			var a web.Account
			if err := cl.askServer(c, http.MethodPut, "/accounts/"+url.PathEscape(args[0]), s, &a); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cl.out, "%s has the role %s.\n", a.Name, a.Role)
			return err
		},
	}
	cl.accountFlags(c, &s)
	return c
}

func (cl *cli) newWebRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove an account; its sessions end at once",
		Long:    "Remove an account. Its sessions end at once. The last one that may do everything stays.",
		Example: "  telltale web remove ben",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := cl.askServer(c, http.MethodDelete, "/accounts/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cl.out, "%s is removed, and logged out everywhere.\n", printable(args[0]))
			return err
		},
	}
}

func (cl *cli) newToken() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Make and revoke tokens, by which programs use the API from the network",
		Long: `Make and revoke tokens, by which programs use the API from the network, where
web.listen is set: home automation, dashboards, scripts. A token has a scope:

  read     see everything
  rules    also write own rules, pause, and search for what broke
  admin    everything

A program sends it as "Authorization: Bearer TOKEN". It is told once, and kept as a hash
alone: who loses one revokes it and makes another. docs/api.md lists the operations.`,
	}
	c.AddCommand(cl.newTokenAdd(), cl.newTokenList(), cl.newTokenRevoke())
	return c
}

func (cl *cli) newTokenAdd() *cobra.Command {
	scope, expires := "", ""
	c := &cobra.Command{
		Use:     "add NAME --scope SCOPE --expires DURATION",
		Short:   "Make a token, and print it this once",
		Long:    "Make a token, and print it. It is not kept, and cannot be shown again.",
		Example: "  telltale token add home-assistant --scope read --expires 365d\n  telltale token add backup --scope read --expires never",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			if scope == "" || expires == "" {
				return usage("--scope (read, rules or admin) and --expires (such as 90d, or never) are missing")
			}
			n := web.NewToken{Name: args[0], Scope: web.Access(scope)}
			if expires != "never" {
				life, err := parseAge(expires)
				if err != nil {
					return usage("--expires: %v", err)
				}
				if n.Seconds = int64(life.Seconds()); n.Seconds < 1 {
					return usage("--expires: at least 1s, or never")
				}
			}
			var t web.MadeToken
			if err := cl.askServer(c, http.MethodPost, "/tokens", n, &t); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(t)
			}
			until := "until it is revoked"
			if t.Expires != nil {
				until = "until " + when(*t.Expires)
			}
			_, err := fmt.Fprintf(cl.out, "%s\n\nThis is the token %s: it may %s, %s. It is not shown again.\n", t.Secret, t.Name, scopeSays(t.Scope), until)
			return err
		},
	}
	c.Flags().StringVar(&scope, "scope", "", "read, rules or admin")
	c.Flags().StringVar(&expires, "expires", "", "after which time it ends, such as 90d, or never")
	complete(c, "scope", "read", "rules", "admin")
	complete(c, "expires", "30d", "90d", "365d", "never")
	return cl.addJSON(c)
}

func scopeSays(scope web.Access) string {
	return cmp.Or(map[web.Access]string{web.Read: "see everything", web.Rules: "see everything, write rules and pause", web.Admin: "do everything"}[scope], string(scope))
}

func (cl *cli) newTokenList() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:     "list",
		Short:   "Show which tokens there are, and when each was last used",
		Long:    "Show which tokens there are, what they may do, until when, and when each was last used. None is shown itself.",
		Example: "  telltale token list",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var all []web.Token
			if err := cl.askServer(c, http.MethodGet, "/tokens", nil, &all); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(all)
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(cl.out, "There are no tokens. 'telltale token add --help' says how to make one.")
				return err
			}
			w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSCOPE\tEXPIRES\tLAST USED\tMADE\tBY")
			for i := range all {
				t := &all[i]
				expires, used := "never", "never"
				if t.Expires != nil {
					expires = when(*t.Expires)
				}
				if t.Expired {
					expires += " (over)"
				}
				if t.Used != nil {
					used = when(*t.Used)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Scope, expires, used, when(t.Made), printable(t.MadeBy))
			}
			return w.Flush()
		},
	})
}

func (cl *cli) newTokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME",
		Short:   "End a token at once",
		Long:    "End a token at once. Programs that use it are refused from then on.",
		Example: "  telltale token revoke home-assistant",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := cl.askServer(c, http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cl.out, "The token %s is revoked.\n", printable(args[0]))
			return err
		},
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"telltale/config"
	"telltale/web"
)

func (cl *cli) newListsAdd() *cobra.Command {
	name := ""
	c := &cobra.Command{
		Use:   "add PRESET|URL",
		Short: "Subscribe to a list that others maintain",
		Long: `Subscribe to a list: one of 'telltale lists presets', or any by its URL. It is
fetched at once, and in force when this command ends. The subscription is written
to ` + config.OverlayName + ` in lists.dir, and your settings file stays as it is; what
else a subscription can be told (how often, observe, a schedule) is for that file.
With the server stopped the subscription is written, and fetched at the start.`,
		Example: "  telltale lists add hagezi-light\n  telltale lists add --name mine https://lists.example/mine.txt",
		Args:    oneArg("preset or URL"),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := subscriptionOf(args[0], name)
			if err != nil {
				return usage("%v", err)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			return cl.subscribe(c.Context(), cfg, s)
		},
	}
	c.Flags().StringVar(&name, "name", "", "what the list is called in the log; the preset's name, or that of the URL's file")
	return c
}

func (cl *cli) subscribe(ctx context.Context, cfg *config.Config, s web.Subscription) error {
	var c web.Change
	err := newClient(cfg).do(ctx, http.MethodPost, "/subscriptions", s, &c)
	stopped := errors.Is(err, errStopped)
	if stopped {
		c, err = cl.writeOverlay(cfg, func() (web.Change, error) { return addSubscription(cfg, s) })
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(cl.out, "%s: %s added\n", c.File, s.Name)
	switch {
	case stopped:
		fmt.Fprintln(cl.err, "No server is running: the list is fetched when one starts.")
	case c.Note != "":
		return fmt.Errorf("%s is subscribed to, but nothing could be put in force: %s; it is tried again, 'telltale lists' shows how it stands", s.Name, c.Note)
	default:
		fmt.Fprintf(cl.out, "%s: %d rules in force\n", s.Name, c.Rules)
	}
	return nil
}

func (cl *cli) newListsRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "End a subscription that 'lists add' made",
		Example: "  telltale lists remove hagezi-light",
		Args:    oneArg("name of a list"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var change web.Change
			err = newClient(cfg).do(c.Context(), http.MethodDelete, "/subscriptions?"+url.Values{"name": args}.Encode(), nil, &change)
			if errors.Is(err, errStopped) {
				change, err = cl.writeOverlay(cfg, func() (web.Change, error) { return removeSubscription(cfg, args[0]) })
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "%s: %s removed\n", change.File, args[0])
			return err
		},
	}
}

// writeOverlay changes the overlay where no server runs. What would not load is
// taken back.
func (cl *cli) writeOverlay(cfg *config.Config, write func() (web.Change, error)) (web.Change, error) {
	c, err := write()
	if err != nil {
		return c, err
	}
	if _, err := cl.loadStrictly(); err != nil {
		return c, errors.Join(err, cfg.RestoreOverlay())
	}
	return c, nil
}

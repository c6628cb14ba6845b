package main

import (
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (cl *cli) newClientID() *cobra.Command {
	return &cobra.Command{
		Use:   "client-id",
		Short: "Make a client id that nobody can guess",
		Long: `Make a client id: what a device calls itself over TLS, HTTPS or QUIC, as ID in
https://NAME/dns-query/ID or in the server's name ID.NAME. A device that has it
in the settings is known by it from wherever it asks, and with one like this it
is answered away from home, too: whoever knows the id is that device. Nothing is
changed: put the line that is printed into the settings (docs/devices.md).`,
		Example: "  telltale client-id",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(cl.out, "client_id: %s\n", newClientID())
			return nil
		},
	}
}

// newClientID returns a random client id of 130 bits.
func newClientID() string { return strings.ToLower(rand.Text()) }

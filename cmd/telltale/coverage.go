package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/web"
)

func (cl *cli) newCoverage() *cobra.Command {
	rules, device, servers := "", "", []string(nil)
	c := cl.addJSON(&cobra.Command{
		Use:   "coverage [DEVICE]",
		Short: "Show which devices may ask past this server, and rules for a router's firewall",
		Long: `Show for each device of the last day a score from 0 to 100, and the signs that it asks
other DNS servers, too: it looked for known resolvers (DNS over HTTPS or TLS, HTTPDNS)
or for iCloud Private Relay; it is on the network and asks nothing for hours; it asks
over one of IPv4 and IPv6 alone, though it has both; it asks for connectivity checks and
nothing else. A low score is no proof that it does, and 100 is none that it does not: an
address that is built in, mobile data or a VPN show nowhere here.

With --rules print rules for the router's firewall instead, by which only this machine
may ask DNS servers outside (ports 53 and 853): nftables, openwrt, opnsense or mikrotik.
With a DEVICE they hold for its MAC addresses alone. Nothing is changed: read them, and
enter them there. They do not stop DNS over HTTPS; docs/coverage.md says what does.

This is not the coverage of a report, which says for how long lookups were recorded.`,
		Example: "  telltale coverage\n  telltale coverage tv\n  telltale coverage --rules nftables > telltale.nft",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("at most one device is expected")
			}
			if rules != "" && firewalls[rules] == nil {
				return usage("--rules is %q: it must be one of %s", rules, strings.Join(firewallNames, ", "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var b web.Bypass
			if err := newClient(cfg).get(c.Context(), "/bypass", &b); err != nil {
				return err
			}
			if len(args) == 1 {
				device = args[0]
				if b.Devices, err = bypassOf(b.Devices, device); err != nil {
					return err
				}
			}
			if rules == "" {
				return cl.printBypass(&b)
			}
			r := firewallRules{device: device}
			if device != "" {
				r.macs = b.Devices[0].MACs
				if len(r.macs) == 0 {
					return fmt.Errorf("no MAC address of %s is known, by which a firewall could tell it apart", device)
				}
			}
			if len(servers) > 0 {
				b.Servers = servers
			}
			if err := r.setServers(b.Servers); err != nil {
				return err
			}
			_, err = fmt.Fprint(cl.out, firewalls[rules](&r))
			return err
		},
	})
	c.ValidArgsFunction = completion(cl.deviceWords)
	c.Flags().StringVar(&rules, "rules", "", "print rules for this firewall: "+strings.Join(firewallNames, ", "))
	c.Flags().StringSliceVar(&servers, "server", nil, "the addresses that may ask outside, instead of this machine's")
	complete(c, "rules", firewallNames...)
	return c
}

// bypassOf returns the one device that a person means.
func bypassOf(all []web.DeviceBypass, who string) ([]web.DeviceBypass, error) {
	var known []string
	for i := range all {
		d := &all[i]
		if strings.EqualFold(d.Name, who) || d.Device == who || slices.Contains(d.MACs, strings.ToLower(who)) {
			return all[i : i+1], nil
		}
		known = append(known, d.Name)
	}
	return nil, unknown("device of the last day", who, known, "telltale coverage")
}

func (cl *cli) printBypass(b *web.Bypass) error {
	if cl.json {
		return cl.encoder().Encode(b)
	}
	if len(b.Devices) == 0 {
		_, err := fmt.Fprintln(cl.out, "No device was here in the last day: 'telltale doctor' may say why.")
		return err
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tSCORE\tLOOKUPS\tLAST ASKED\tSIGNS")
	for i := range b.Devices {
		d := &b.Devices[i]
		line := fmt.Sprintf("%s\t%d\t%d\t%s\t", printable(d.Name), d.Score, d.Lookups, when(d.Last))
		if len(d.Signs) == 0 {
			fmt.Fprintln(w, line+"none")
		}
		for k, s := range d.Signs {
			if k > 0 {
				line = "\t\t\t\t"
			}
			fmt.Fprintln(w, line+printable(s.Says))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cl.out, "\nSigns are no proof, and none is no proof of the contrary (docs/coverage.md).")
	return err
}

// firewallRules are what rules are made of.
type firewallRules struct {
	servers4, servers6 []string // who may ask outside
	device             string   // "" for all
	macs               []string // of it
}

func (r *firewallRules) setServers(all []string) error {
	for _, text := range all {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			return usage("--server: %v", err)
		case a.Is4():
			r.servers4 = append(r.servers4, text)
		default:
			r.servers6 = append(r.servers6, text)
		}
	}
	if len(r.servers4)+len(r.servers6) == 0 {
		return fmt.Errorf("this machine has no address that a router could let pass; --server names it")
	}
	return nil
}

func (r *firewallRules) who() string { return cmp.Or(r.device, "every device") }

// firewallNames are the firewalls that rules are known for.
var firewallNames = []string{"nftables", "openwrt", "opnsense", "mikrotik"}

var firewalls = map[string]func(*firewallRules) string{"nftables": nftablesRules, "openwrt": openWrtRules, "opnsense": opnsenseRules, "mikrotik": mikroTikRules}

// nftablesRules are for a router with Linux: nft -f FILE.
func nftablesRules(r *firewallRules) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# On the router: only Telltale's machine asks DNS servers outside (of %s). nft -f FILE; nft delete table inet telltale takes it back.\n", r.comment())
	b.WriteString("table inet telltale {\n\tchain forward {\n\t\ttype filter hook forward priority filter - 1; policy accept;\n")
	if len(r.servers4) > 0 {
		fmt.Fprintf(&b, "\t\tip saddr { %s } return\n", strings.Join(r.servers4, ", "))
		fmt.Fprintf(&b, "\t\tip daddr { %s } return\n", strings.Join(r.servers4, ", "))
	}
	if len(r.servers6) > 0 {
		fmt.Fprintf(&b, "\t\tip6 saddr { %s } return\n", strings.Join(r.servers6, ", "))
		fmt.Fprintf(&b, "\t\tip6 daddr { %s } return\n", strings.Join(r.servers6, ", "))
	}
	if len(r.macs) > 0 {
		fmt.Fprintf(&b, "\t\tether saddr != { %s } return\n", strings.Join(r.macs, ", "))
	}
	b.WriteString("\t\tmeta l4proto { tcp, udp } th dport { 53, 853 } counter reject\n\t}\n}\n")
	return b.String()
}

// comment is who, without what would end a comment.
func (r *firewallRules) comment() string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == '"' || c == '\'' || c == '\\' || c == '$' || c == '`' {
			return '?'
		}
		return c
	}, r.who())
}

// openWrtRules are commands for a router with OpenWrt. Rules hold in their order: what is
// let pass comes first.
func openWrtRules(r *firewallRules) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# On the router, as root: only Telltale's machine asks DNS servers outside (of %s).\n", r.comment())
	b.WriteString("# 'uci delete firewall.NAME' for each, 'uci commit firewall' and a restart take it back.\n")
	rule := func(name, family, target string, more ...string) {
		fmt.Fprintf(&b, "uci set firewall.%s=rule\nuci set firewall.%[1]s.name='%[1]s'\nuci set firewall.%[1]s.src='lan'\nuci set firewall.%[1]s.dest='wan'\n", name)
		if family != "" {
			fmt.Fprintf(&b, "uci set firewall.%s.family='%s'\n", name, family)
		}
		fmt.Fprintf(&b, "uci add_list firewall.%s.proto='tcp'\nuci add_list firewall.%[1]s.proto='udp'\nuci set firewall.%[1]s.dest_port='53 853'\n", name)
		for _, m := range more {
			key, value, _ := strings.Cut(m, "=")
			fmt.Fprintf(&b, "uci add_list firewall.%s.%s='%s'\n", name, key, value)
		}
		fmt.Fprintf(&b, "uci set firewall.%s.target='%s'\n", name, target)
	}
	if len(r.servers4) > 0 {
		rule("telltale_pass4", "ipv4", "ACCEPT", options("src_ip", r.servers4)...)
	}
	if len(r.servers6) > 0 {
		rule("telltale_pass6", "ipv6", "ACCEPT", options("src_ip", r.servers6)...)
	}
	rule("telltale_stop", "", "REJECT", options("src_mac", r.macs)...)
	b.WriteString("uci commit firewall\n/etc/init.d/firewall restart\n")
	return b.String()
}

func options(key string, values []string) (all []string) {
	for _, v := range values {
		all = append(all, key+"="+v)
	}
	return all
}

// opnsenseRules are what to enter: OPNsense takes rules by its pages.
func opnsenseRules(r *firewallRules) string {
	var b strings.Builder
	fmt.Fprintf(&b, "OPNsense: only Telltale's machine asks DNS servers outside (of %s).\n\n", r.comment())
	fmt.Fprintf(&b, "1. Firewall > Aliases: add telltale, type Host(s): %s\n", strings.Join(slices.Concat(r.servers4, r.servers6), ", "))
	b.WriteString("2. Firewall > Aliases: add dns_ports, type Port(s): 53, 853\n")
	source := "any"
	if len(r.macs) > 0 {
		source = "telltale_asks"
		fmt.Fprintf(&b, "3. Firewall > Aliases: add telltale_asks, type MAC address: %s\n", strings.Join(r.macs, ", "))
	} else {
		b.WriteString("3. (nothing: the rules hold for every device)\n")
	}
	b.WriteString("4. Firewall > Rules > LAN, above the rule that lets everything pass, in this order:\n")
	b.WriteString("   Pass    in  IPv4+IPv6  TCP/UDP  source telltale  destination any       port dns_ports\n")
	b.WriteString("   Pass    in  IPv4+IPv6  TCP/UDP  source any       destination telltale  port dns_ports\n")
	fmt.Fprintf(&b, "   Reject  in  IPv4+IPv6  TCP/UDP  source %-8s  destination any       port dns_ports\n", source)
	b.WriteString("5. Apply. The second rule matters where devices are on other networks than Telltale; a LAN's own packets do not pass the firewall.\n")
	return b.String()
}

// mikroTikRules are commands for RouterOS. They are put before all others of the chain.
func mikroTikRules(r *firewallRules) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# RouterOS: only Telltale's machine asks DNS servers outside (of %s).\n", r.comment())
	b.WriteString("# /ip firewall filter remove [find comment=telltale], the same with /ipv6, and the address lists take it back.\n")
	family := func(menu string, servers []string) {
		for _, s := range servers {
			fmt.Fprintf(&b, "%s firewall address-list add list=telltale address=%s comment=telltale\n", menu, s)
		}
		macs := r.macs
		if len(macs) == 0 {
			macs = []string{""}
		}
		for _, mac := range macs {
			from := ""
			if mac != "" {
				from = " src-mac-address=" + strings.ToUpper(mac)
			}
			for _, proto := range []string{"udp", "tcp"} {
				fmt.Fprintf(&b, "%s firewall filter add chain=forward protocol=%s dst-port=53,853 src-address-list=!telltale dst-address-list=!telltale%s action=reject comment=telltale place-before=0\n", menu, proto, from)
			}
		}
	}
	family("/ip", r.servers4)
	family("/ipv6", r.servers6)
	return b.String()
}

// Package packaging holds what a service of systemd needs, for `telltale install`
// and for packages alike.
package packaging

import _ "embed"

// Unit is the service of systemd.
//
//go:embed telltale.service
var Unit string

// Users says to systemd-sysusers which user and group the service runs as.
//
//go:embed telltale.sysusers
var Users string

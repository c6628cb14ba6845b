//go:build !linux

package upstream

// followNetwork does nothing: upstreams that are down are found again by their probes.
func (u *Client) followNetwork() {}

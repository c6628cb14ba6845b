//go:build !linux

package offered

import (
	"context"
	"errors"
	"net"
)

// Ask is for Linux alone.
func Ask(context.Context, net.Interface) ([]Server, error) { return nil, errors.ErrUnsupported }

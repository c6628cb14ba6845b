//go:build !linux

package metrics

import "runtime"

// AddProcess adds what the process takes of its machine, as far as that is known here.
func AddProcess(p *Page) { p.Add(&Goroutines, float64(runtime.NumGoroutine())) }

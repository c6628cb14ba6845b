package matcher

import (
	"fmt"
	"runtime/debug"
)

// guard runs f, which reads what may be mapped, and returns an error when that
// cannot be read: a file cut short underneath, or a disk that fails, raises
// SIGBUS, which would end the program.
func guard(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = faultError(r)
		}
	}()
	f()
	return nil
}

// faultError returns the error for a recovered read fault, and goes on
// panicking with anything else.
func faultError(recovered any) error {
	if fault, ok := recovered.(interface {
		error
		Addr() uintptr
	}); ok {
		return fmt.Errorf("a mapped image of names cannot be read: %w", fault)
	}
	panic(recovered)
}

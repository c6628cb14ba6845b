//go:build !linux

package listen

// LowerOtherThreads does nothing: threads have no priority of their own here.
func (l *Listeners) LowerOtherThreads() {}

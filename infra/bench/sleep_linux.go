package main

import (
	"syscall"
	"time"
)

// sleepUntil returns at the time, or as soon after it as the kernel wakes a thread. time.Sleep waits in the network poller, whose
// time-out counts whole milliseconds: what is late by one there would be taken for the server's slowness.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		wait := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&wait, nil) // interrupted by a signal: the rest follows
	}
}

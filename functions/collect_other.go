//go:build !windows

package main

import (
	"context"

	"pinreset/shared/devicereport"
)

// collect has nothing to ask here.
func collect(context.Context) (devicereport.Report, error) {
	return devicereport.Report{}, errNotWindows
}

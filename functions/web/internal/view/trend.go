package view

import (
	"fmt"
	"strings"

	"pinreset/shared/survey"
)

// Size of a trend, in the units of its picture.
const (
	trendWidth  = 120
	trendHeight = 24
)

// trendLine is the course of the share of devices that took the policy, as the points of a line from 0 to 100 %: "" where fewer than
// two audits tell it. An audit that could not tell is left out and not drawn as nothing.
func trendLine(trend []survey.Point) string {
	var known []survey.Point
	for _, p := range trend {
		if p.Targeted > 0 {
			known = append(known, p)
		}
	}
	if len(known) < 2 {
		return ""
	}
	var points strings.Builder
	for i, p := range known {
		x := trendWidth * float64(i) / float64(len(known)-1)
		y := trendHeight * (1 - float64(p.Succeeded)/float64(p.Targeted))
		fmt.Fprintf(&points, "%.1f,%.1f ", x, y)
	}
	return strings.TrimSpace(points.String())
}

// share is a part of a whole in per cent, rounded down: 99.9 % is not everybody.
func share(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}

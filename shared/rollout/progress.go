package rollout

import (
	"math"
	"time"
)

// Where progress comes from.
const (
	FromIntune  = "intune"  // deviceStatuses of the policy
	FromDevices = "devices" // what devices report themselves
	FromNowhere = "unknown" // this shape has no status for each device, and no device has reported
)

// Progress is how many devices are in which state. A device that the policy does not apply to, such as a phone of a targeted
// user, is counted apart and is in no ratio.
type Progress struct {
	At            time.Time `json:"at"`
	Source        string    `json:"source"`
	Succeeded     int       `json:"succeeded"`
	Pending       int       `json:"pending"` // not reported yet
	Failed        int       `json:"failed"`
	Conflict      int       `json:"conflict"`
	NotApplicable int       `json:"notApplicable"`
	Why           string    `json:"why,omitempty"` // why it is unknown
}

// Known reports whether there is anything to tell.
func (p Progress) Known() bool { return p.Source != FromNowhere && p.Source != "" }

// Applies is how many devices the policy applies to.
func (p Progress) Applies() int { return p.Succeeded + p.Pending + p.Failed + p.Conflict }

// Percent is the share of devices that have it, of those it applies to; ok is false where that is unknown.
func (p Progress) Percent() (percent int, ok bool) {
	if !p.Known() || p.Applies() == 0 {
		return 0, false
	}
	return int(math.Floor(100 * float64(p.Succeeded) / float64(p.Applies()))), true
}

// Everywhere reports whether all devices that it applies to, and there are some, have it.
func (p Progress) Everywhere() bool {
	return p.Known() && p.Applies() > 0 && p.Succeeded == p.Applies()
}

// same reports whether two looks saw the same.
func (p Progress) same(q Progress) bool {
	p.At, q.At = time.Time{}, time.Time{}
	return p == q
}

// Sample is progress at a time.
type Sample = Progress

// keptSamples bounds the history; when it is full, every second sample of its older half goes.
const keptSamples = 64

// See takes a look at the devices into the rollout: the latest progress, and its history where it changed.
func (r *Rollout) See(p Progress) {
	r.Progress = &p
	if n := len(r.Samples); n > 0 && r.Samples[n-1].same(p) {
		return
	}
	r.Samples = append(r.Samples, p)
	if len(r.Samples) <= keptSamples {
		return
	}
	thinned := r.Samples[:1:1] // the first stays: it is where the curve begins
	for i, s := range r.Samples[1:] {
		if i >= keptSamples/2 || i%2 == 1 {
			thinned = append(thinned, s)
		}
	}
	r.Samples = thinned
}

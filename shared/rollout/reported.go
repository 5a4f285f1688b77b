package rollout

import (
	"context"
	"time"

	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/work"
)

// Reported counts devices by what they report themselves of the value that MDM gave them; only what they have reported after
// since counts. some is false where no device has reported a value at all.
//
// A device without the value may not have taken the policy yet, or may not be meant by it: a report does not say which. Such a
// device counts as pending, so the share is never too high, and Why says so.
func Reported(ctx context.Context, u *work.Unit, want policy.Value, since time.Time) (p Progress, some bool, err error) {
	p = Progress{At: u.Now(), Source: FromDevices, Why: "from devices that report themselves; one without the value may not be meant"}
	for r, err := range readiness.Devices(ctx, u) {
		if err != nil {
			return p, false, err
		}
		value, read := r.Policies.DeviceMDM.Get()
		if !read {
			continue
		}
		some = true
		has := policy.Off
		if value == readiness.On {
			has = policy.On
		}
		if has == want && r.ReportedAt.After(since) {
			p.Succeeded++
		} else {
			p.Pending++
		}
	}
	return p, some, nil
}

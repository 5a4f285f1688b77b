package tenantaudit

import (
	"context"
	"fmt"

	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/rollout"
	"pinreset/shared/survey"
	"pinreset/shared/work"
)

// reported counts what devices say themselves, where Graph keeps no status of devices for the policy that stands. Without any
// report it stays unknown.
func (l *look) reported(ctx context.Context, u *work.Unit) error {
	f, ok := standing(l.found())
	if !ok || f.Shape.HasDeviceStatus() {
		return nil
	}
	c, counted := l.facts.Coverage.Get()
	status := survey.Status{Source: rollout.FromDevices}
	for r, err := range readiness.Devices(ctx, u) {
		if err != nil {
			return fmt.Errorf("count device reports: %w", err)
		}
		c.CountReport(r)
		switch value, read := r.Policies.DeviceMDM.Get(); {
		case !read:
		case value == readiness.On:
			status.Succeeded++
		default:
			status.Pending++
		}
	}
	if status.Targeted() == 0 {
		return nil
	}
	l.status = &status
	l.part(survey.PartStatus, nil)
	if counted {
		c.Targeted, c.Succeeded = status.Targeted(), status.Succeeded
		l.facts.Coverage = reading.Read(c)
	}
	return nil
}

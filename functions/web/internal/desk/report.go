package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/shared/devicereport"
	"pinreset/shared/identity"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/work"
)

// Report is a report as it is shown: what was understood, not what was sent.
type Report struct {
	ID      string               `json:"id"`
	KeyID   string               `json:"keyId" doc:"The key that signed it"`
	At      time.Time            `json:"at" doc:"When it came"`
	ReadAt  time.Time            `json:"readAt,omitzero" doc:"When it was read; absent while it waits"`
	Resets  []devicereport.Ended `json:"resets" nullable:"false" doc:"PIN resets that it tells of"`
	Unknown int                  `json:"unknown,omitempty" doc:"Lines of dsregcmd that are no field"`
	Facts   map[string]string    `json:"facts,omitempty" doc:"What the device said of itself, or why a thing is not known; only of the newest report"`
}

// DeviceReports lists a device's reports, newest first.
func (r *Room) DeviceReports(ctx context.Context, id string, page Page) (List[Report], error) {
	if err := r.Need(identity.DeviceRead); err != nil {
		return List[Report]{}, err
	}
	u := r.unit()
	id, err := r.known(ctx, u, id)
	if err != nil {
		return List[Report]{}, err
	}
	facts, err := readiness.ReadDevice(ctx, u, id)
	if err != nil && !errors.Is(err, work.ErrNotFound) {
		return List[Report]{}, fmt.Errorf("read facts of %s: %w", id, err)
	}
	return paged(r, "reports "+id, page, func(limit int, place string) ([]Report, string, error) {
		stored, next, err := devicereport.List(ctx, r.desk.o.Store, r.ID(), id, limit, place)
		if err != nil {
			return nil, "", err
		}
		var out []Report
		for _, s := range stored {
			shown := Report{ID: s.ID, KeyID: s.KeyID, At: s.At, Resets: []devicereport.Ended{}}
			if s.Read != nil {
				shown.ReadAt, shown.Unknown = s.Read.At, s.Read.Unknown
				shown.Resets = append(shown.Resets, s.Read.Resets...)
			}
			if facts.ReportID == s.ID {
				shown.Facts = told(facts)
			}
			out = append(out, shown)
		}
		return out, next, nil
	})
}

// Said is what a device last said of itself.
type Said struct {
	At    time.Time         // zero: it never reported
	Facts map[string]string // in words, by name
}

// LastSaid reads what the device last said of itself. It asks nobody but the store.
func (r *Room) LastSaid(ctx context.Context, id string) (Said, error) {
	if err := r.Need(identity.DeviceRead); err != nil {
		return Said{}, err
	}
	facts, err := readiness.ReadDevice(ctx, r.unit(), id)
	if errors.Is(err, work.ErrNotFound) {
		return Said{}, nil
	}
	if err != nil {
		return Said{}, fmt.Errorf("read facts of %s: %w", id, err)
	}
	return Said{At: facts.ReportedAt, Facts: told(facts)}, nil
}

// told is what a device said of itself, in words.
func told(f readiness.DeviceReport) map[string]string {
	out := map[string]string{}
	add := func(name string, value string, why reading.Cause) {
		if why.Code != "" {
			value = "not known: " + why.Text
		}
		if value != "" {
			out[name] = value
		}
	}
	whether := func(name string, o reading.Of[bool]) {
		value := "no"
		if yes, _ := o.Get(); yes {
			value = "yes"
		}
		add(name, value, o.Why())
	}
	text := func(name string, o reading.Of[string]) {
		value, _ := o.Get()
		add(name, value, o.Why())
	}
	setting := func(name string, o reading.Of[readiness.Setting]) {
		value, _ := o.Get()
		add(name, string(value), o.Why())
	}
	text("edition", f.Edition)
	text("version", f.Version)
	trust, _ := f.Trust.Get()
	add("trust", string(trust), f.Trust.Why())
	status, _ := f.Status.Get()
	add("canReset", status.CanReset, f.Status.Why())
	setting("recoveryByUserGroupPolicy", f.Policies.UserGroupPolicy)
	setting("recoveryByGroupPolicy", f.Policies.ComputerGroupPolicy)
	setting("recoveryByUserMDM", f.Policies.UserMDM)
	setting("recoveryByDeviceMDM", f.Policies.DeviceMDM)
	text("webSignInAllowed", f.AllowedURLs)
	whether("recoveryKeyBegun", f.Enrolled)
	whether("domainController", f.DomainController)
	whether("federation", f.Federation)
	for id, holds := range f.LockScreen {
		whether("lockScreen."+id, holds)
	}
	return out
}

package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/work"
)

// TenantReadiness is whether users of a tenant can reset a forgotten PIN or passcode, and why not.
type TenantReadiness struct {
	TenantID string `json:"tenantId"`
	readiness.TenantVerdict
}

// DeviceReadiness is the same of one device, path by path.
type DeviceReadiness struct {
	TenantID   string              `json:"tenantId"`
	DeviceID   string              `json:"deviceId"`
	Name       string              `json:"name,omitempty"`
	User       string              `json:"user,omitempty" doc:"User principal name"`
	ReadAt     time.Time           `json:"readAt" doc:"When Graph was asked about the device"`
	AuditedAt  time.Time           `json:"auditedAt,omitzero" doc:"When the tenant's facts were read; missing if no audit has ended"`
	ReportedAt time.Time           `json:"reportedAt,omitzero" doc:"When the device last reported about itself; missing if it never did"`
	Paths      []readiness.Verdict `json:"paths" nullable:"false"`
}

// Readiness gives the tenant's verdict out of the facts of its last audit.
func (r *Room) Readiness(ctx context.Context) (TenantReadiness, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return TenantReadiness{}, err
	}
	facts, err := r.facts(ctx, r.unit())
	if err != nil {
		return TenantReadiness{}, err
	}
	return TenantReadiness{TenantID: r.ID(), TenantVerdict: readiness.Tenant(facts)}, nil
}

func (r *Room) facts(ctx context.Context, u *work.Unit) (readiness.TenantFacts, error) {
	facts, err := readiness.ReadTenant(ctx, u)
	if errors.Is(err, work.ErrNotFound) {
		return readiness.NotAudited(r.ID()), nil
	}
	if err != nil {
		return facts, fmt.Errorf("read readiness of %s: %w", r.ID(), err)
	}
	return facts, nil
}

// DeviceReadiness gives the verdicts of a device: out of the tenant's facts, a live read, and the device's last report. A
// device that only reports, as on premises, is known by its report alone. A read that fails leaves its part unread; a device
// that neither Intune nor a report knows does not exist.
func (r *Room) DeviceReadiness(ctx context.Context, id string) (DeviceReadiness, error) {
	if err := r.Need(identity.DeviceRead); err != nil {
		return DeviceReadiness{}, err
	}
	if !events.IsGUID(id) {
		return DeviceReadiness{}, missing(nil)
	}
	id = strings.ToLower(id)
	u := r.unit()
	tenant, err := r.facts(ctx, u)
	if err != nil {
		return DeviceReadiness{}, err
	}
	f := readiness.DeviceFacts{DeviceID: id, ReadAt: r.desk.o.Now().UTC()}
	out := DeviceReadiness{TenantID: r.ID(), DeviceID: id, ReadAt: f.ReadAt, AuditedAt: tenant.ReadAt}
	report, err := readiness.ReadDevice(ctx, u, id)
	switch {
	case err == nil:
		f.Report, out.ReportedAt = reading.Read(report), report.ReportedAt
	case errors.Is(err, work.ErrNotFound):
		f.Report = reading.Unread[readiness.DeviceReport](fault.DeviceNotReporting, "")
	default:
		return DeviceReadiness{}, fmt.Errorf("read report of device %s: %w", id, err)
	}
	if tenant.Kind != readiness.OnPremises {
		if err := r.look(graph.WithPriority(ctx, graph.People), &f); err != nil {
			return DeviceReadiness{}, err
		}
	} else if !f.Report.OK() {
		return DeviceReadiness{}, missing(nil)
	}
	if m, ok := f.Managed.Get(); ok {
		out.Name, out.User = m.Name, m.User
	}
	out.Paths = readiness.Device(tenant, f)
	return out, nil
}

// look reads the device from Graph.
func (r *Room) look(ctx context.Context, f *readiness.DeviceFacts) error {
	d, err := r.desk.o.Devices.ManagedDevice(ctx, r.ID(), f.DeviceID)
	switch {
	case errors.Is(err, graph.ErrNotFound) && !f.Report.OK():
		return missing(err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		f.Managed = reading.From(readiness.Managed{}, err)
		return nil
	}
	f.Managed = reading.Read(readiness.Managed{
		Name: d.DeviceName, OperatingSystem: d.OperatingSystem, OSVersion: d.OSVersion, Model: d.Model, EnrollmentType: d.EnrollmentType,
		ManagementAgent: d.ManagementAgent, Owner: d.OwnerType, UserID: d.UserID, User: d.UserPrincipalName, LastSync: d.LastSync,
	})
	return nil
}

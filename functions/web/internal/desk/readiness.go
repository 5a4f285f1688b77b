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
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// TenantReadiness is whether users of a tenant can reset a forgotten PIN or passcode, and why not.
type TenantReadiness struct {
	TenantID string      `json:"tenantId"`
	Kind     tenant.Kind `json:"kind" enum:"entra,on-premises" doc:"On premises nothing is audited: what is known comes from devices"`
	readiness.TenantVerdict
}

// DeviceReadiness is the same of one device, path by path.
type DeviceReadiness struct {
	TenantID   string              `json:"tenantId"`
	Kind       tenant.Kind         `json:"kind" enum:"entra,on-premises" doc:"On premises a device is known by its reports alone"`
	DeviceID   string              `json:"deviceId"`
	Name       string              `json:"name,omitempty"`
	User       string              `json:"user,omitempty" doc:"User principal name"`
	ReadAt     time.Time           `json:"readAt" doc:"When it was read: from Graph, or on premises from its reports"`
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
	return TenantReadiness{TenantID: r.ID(), Kind: r.tenant.Kind, TenantVerdict: readiness.Tenant(facts)}, nil
}

func (r *Room) facts(ctx context.Context, u *work.Unit) (readiness.TenantFacts, error) {
	if r.tenant.Kind == tenant.OnPremises {
		return readiness.Unvisited(r.ID()), nil // no audit can read it
	}
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
	facts, err := r.facts(ctx, u)
	if err != nil {
		return DeviceReadiness{}, err
	}
	f := readiness.DeviceFacts{DeviceID: id, ReadAt: r.desk.o.Now().UTC()}
	out := DeviceReadiness{TenantID: r.ID(), Kind: r.tenant.Kind, DeviceID: id, ReadAt: f.ReadAt, AuditedAt: facts.ReadAt}
	report, err := readiness.ReadDevice(ctx, u, id)
	switch {
	case err == nil:
		f.Report, out.ReportedAt = reading.Read(report), report.ReportedAt
	case errors.Is(err, work.ErrNotFound):
		f.Report = reading.Unread[readiness.DeviceReport](fault.DeviceNotReporting, "")
	default:
		return DeviceReadiness{}, fmt.Errorf("read report of device %s: %w", id, err)
	}
	if facts.Kind != tenant.OnPremises {
		if err := r.look(graph.WithPriority(ctx, graph.People), &f); err != nil {
			return DeviceReadiness{}, err
		}
	} else if !f.Report.OK() {
		return DeviceReadiness{}, missing(nil)
	}
	if m, ok := f.Managed.Get(); ok {
		out.Name, out.User = m.Name, m.User
	}
	out.Paths = readiness.Device(facts, f)
	return out, nil
}

// look reads the device from Graph.
func (r *Room) look(ctx context.Context, f *readiness.DeviceFacts) error {
	cloud := r.desk.o.Devices
	d, err := cloud.ManagedDevice(ctx, r.ID(), f.DeviceID)
	switch {
	case errors.Is(err, graph.ErrNotFound) && !f.Report.OK():
		return missing(err)
	case err != nil:
		f.Managed = reading.From(readiness.Managed{}, err)
		f.Directory = reading.From(readiness.Directory{}, err)
		f.Groups, f.UserGroups = reading.From([]string(nil), err), reading.From([]string(nil), err)
		return stopped(ctx)
	}
	m := readiness.Managed{
		Name: d.DeviceName, OperatingSystem: d.OperatingSystem, OSVersion: d.OSVersion, Model: d.Model, EnrollmentType: d.EnrollmentType,
		ManagementAgent: d.ManagementAgent, Owner: d.OwnerType, UserID: d.UserID, User: d.UserPrincipalName, LastSync: d.LastSync,
	}
	// Beta's part is an addition: without it, edition and join type are not known by Graph, and the rest is.
	if e, err := cloud.DeviceEdition(ctx, r.ID(), f.DeviceID); err == nil {
		m.JoinType, m.SKUFamily, m.SKUNumber = e.JoinType, e.SKUFamily, e.SKUNumber
	}
	f.Managed = reading.Read(m)
	f.Directory, f.Groups = r.directory(ctx, d.AzureADDeviceID)
	f.UserGroups = reading.Read([]string{})
	if d.UserID != "" {
		f.UserGroups = reading.From(cloud.UserGroups(ctx, r.ID(), d.UserID))
	}
	return stopped(ctx)
}

// directory reads the directory's device, and its groups.
func (r *Room) directory(ctx context.Context, deviceID string) (reading.Of[readiness.Directory], reading.Of[[]string]) {
	if !events.IsGUID(deviceID) || strings.Trim(deviceID, "0-") == "" {
		const why = "Intune does not say which device of the directory this is."
		return reading.Unread[readiness.Directory](fault.NotRead, why), reading.Unread[[]string](fault.NotRead, why)
	}
	x, err := r.desk.o.Devices.DirectoryDevice(ctx, r.ID(), deviceID)
	switch {
	case errors.Is(err, graph.ErrNotFound):
		return reading.Read(readiness.Directory{}), reading.Read([]string{})
	case err != nil:
		return reading.From(readiness.Directory{}, err), reading.From([]string(nil), err)
	}
	groups := reading.From(r.desk.o.Devices.DeviceGroups(ctx, r.ID(), x.ID))
	if x.AccountEnabled == nil {
		return reading.Unread[readiness.Directory](fault.NotRead, "The directory does not say whether the device is enabled."), groups
	}
	return reading.Read(readiness.Directory{Present: true, TrustType: x.TrustType, Enabled: *x.AccountEnabled}), groups
}

// stopped tells a reader who has gone away from a read that failed.
func stopped(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

package readiness

import (
	"context"
	"strings"

	"pinreset/shared/work"
)

const (
	tenantRow = "readiness"
	// DevicePrefix is the row prefix of what devices reported: readiness-device|{device}. Their field "reportedAt" says when.
	DevicePrefix = "readiness-device|"
)

// WriteTenant stages the facts of the unit's tenant, in place of those of the audit before.
func WriteTenant(u *work.Unit, f TenantFacts) error { return u.Put(tenantRow, f) }

// ReadTenant returns the facts that were last read of the unit's tenant, or work.ErrNotFound if it was never audited.
func ReadTenant(ctx context.Context, u *work.Unit) (TenantFacts, error) {
	var f TenantFacts
	return f, u.Get(ctx, tenantRow, &f)
}

// WriteDevice stages what a device of the unit's tenant reported, in place of its report before.
func WriteDevice(u *work.Unit, device string, r DeviceReport) error {
	return u.Put(reportRow(device), r)
}

// ReadDevice returns what a device of the unit's tenant last reported, or work.ErrNotFound if it never did.
func ReadDevice(ctx context.Context, u *work.Unit, device string) (DeviceReport, error) {
	var r DeviceReport
	return r, u.Get(ctx, reportRow(device), &r)
}

// device is Intune's id; ids are compared without case.
func reportRow(device string) string { return DevicePrefix + strings.ToLower(device) }

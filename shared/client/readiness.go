package client

import (
	"context"
	"time"

	"pinreset/shared/readiness"
	"pinreset/shared/tenant"
)

// TenantReadiness is a tenant's verdict, out of the facts of its last audit.
type TenantReadiness struct {
	TenantID string      `json:"tenantId"`
	Kind     tenant.Kind `json:"kind"`
	readiness.TenantVerdict
}

// DeviceReadiness is a device's verdicts, one a path.
type DeviceReadiness struct {
	TenantID   string              `json:"tenantId"`
	Kind       tenant.Kind         `json:"kind"`
	DeviceID   string              `json:"deviceId"`
	Name       string              `json:"name,omitempty"`
	User       string              `json:"user,omitempty"` // user principal name
	ReadAt     time.Time           `json:"readAt"`
	AuditedAt  time.Time           `json:"auditedAt,omitzero"`  // zero if no audit of the tenant has ended
	ReportedAt time.Time           `json:"reportedAt,omitzero"` // zero if the device never reported
	Paths      []readiness.Verdict `json:"paths"`
}

// TenantReadiness reads the verdict of a tenant.
func (c *Client) TenantReadiness(ctx context.Context, tenant string) (r TenantReadiness, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "readiness"), &r)
	return r, err
}

// DeviceReadiness reads the verdicts of a device.
func (c *Client) DeviceReadiness(ctx context.Context, tenant, id string) (r DeviceReadiness, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "devices", id, "readiness"), &r)
	return r, err
}

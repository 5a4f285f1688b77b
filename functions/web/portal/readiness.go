package portal

import (
	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
)

type readinessData struct {
	Readiness desk.TenantReadiness
	MayAudit  bool
	Key       string
}

func (p *pages) readiness(v *visit) error {
	said, err := v.room.Readiness(v.r.Context())
	if err != nil {
		return err
	}
	return p.show(v, "readiness", p.chrome(v, "readiness", "Readiness"), readinessData{
		Readiness: said, MayAudit: v.room.Can(identity.AuditRun) && said.Kind != tenant.OnPremises, Key: fresh().Key,
	})
}

func (p *pages) deviceReadiness(v *visit) error {
	said, err := v.room.DeviceReadiness(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	name := said.Name
	if name == "" {
		name = "device " + said.DeviceID
	}
	return p.show(v, "devicereadiness", p.chrome(v, "devices", "Readiness of "+name), said)
}

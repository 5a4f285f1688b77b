package readiness

import (
	"pinreset/shared/passcode"
	"pinreset/shared/reading"
)

// Count adds a managed device to the figures that Intune's own facts decide. What Microsoft's tables leave open counts neither
// as eligible nor as ruled out; the same tables give the verdict of [Device].
func (c *Coverage) Count(m Managed) {
	c.Devices++
	if !isDesktop(m.OperatingSystem) {
		answer := passcode.Check(passcode.Facts{OperatingSystem: m.OperatingSystem, OSVersion: m.OSVersion,
			EnrollmentType: m.EnrollmentType, ManagementAgent: m.ManagementAgent, Owner: m.Owner}).Answer
		if answer == passcode.Yes {
			c.Phones++
		}
		return
	}
	c.Windows++
	f := DeviceFacts{Managed: reading.Read(m)}
	var b *band
	if x, ok := bandOf(m.OSVersion); ok {
		b = &x
	}
	var e *Edition
	if x, ok := f.edition().Get(); ok {
		e = &x
	}
	d, _ := deployment(TenantFacts{}, f)
	joined, known := d.Get()
	if nonDestructive(e, b).answer == reading.No || known && lookUp(joined, KeepSettings).answer == reading.No {
		c.Ineligible++
	}
}

// CountReport adds what a device last said itself.
func (c *Coverage) CountReport(r DeviceReport) {
	c.Reported++
	if s, ok := r.Status.Get(); ok {
		if s.CanReset == "NonDestructiveOnly" || s.CanReset == "DestructiveAndNonDestructive" {
			c.Proven++
		}
		if trust, ok := r.Trust.Get(); ok && trust == KeyTrust && s.EntraJoined && s.DomainJoined {
			c.KeyTrust++
		}
	}
	for _, held := range r.LockScreen {
		if holds, ok := held.Get(); ok && holds {
			c.LockScreen++
			break
		}
	}
}

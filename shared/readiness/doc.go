// Package readiness says whether people can reset a forgotten PIN or passcode, by which path, and if not, why.
//
// It is pure evaluation: facts in, verdicts out. [TenantFacts] is what an audit read of a tenant; [DeviceFacts] is what Graph
// says of a device now and what the device last reported about itself. [Tenant] gives one verdict for the tenant, [Device] one
// for each [Path] of a device. Every verdict shows all its checks, each passed, failed, not applicable or unread, with what
// was seen and what to do.
//
// Facts are readings (package reading): what could not be read leads to "unknown" and never to "missing". A cell of Microsoft's
// tables that Microsoft does not fill is unknown as well: it neither promises nor refuses.
//
// Two things with similar names are kept apart. A Windows Hello PIN is reset by its user, at the device; no path of this
// package lets an operator do it from afar, and no text says so. A passcode of a phone or tablet is reset by an operator
// (package passcode, whose table is used here as it is).
//
// Facts: Microsoft's pages "PIN reset" (windows/security/identity-protection/hello-for-business/pin-reset), "PassportForWork
// CSP", "Manage Windows Hello for Business in your organization" (precedence of policies), "Enable Microsoft Entra
// self-service password reset at the Windows sign-in screen" (lock-screen limitations), "Troubleshoot devices by using the
// dsregcmd command". Where those pages are silent, the comment at the rule says on what it rests.
//
// The package reads nothing but its own rows and calls nobody.
package readiness

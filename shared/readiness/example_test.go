package readiness_test

import (
	"fmt"

	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

// ExampleDevice asks about a device that Intune knows and that has never reported.
func ExampleDevice() {
	device := readiness.DeviceFacts{
		Managed: reading.Read(readiness.Managed{OperatingSystem: "Windows", OSVersion: "10.0.17763.1", SKUFamily: "Pro", JoinType: "azureADJoined"}),
		Report:  reading.Unread[readiness.DeviceReport](fault.DeviceNotReporting, ""),
	}
	for _, v := range readiness.Device(readyTenant(), device)[:2] {
		fmt.Println(v.Answer, v.Reason)
		fmt.Println(v.Text)
	}
	// Output:
	// no edition_not_supported
	// Resetting the PIN from Settings with all keys kept is not possible: Windows Pro is not among the editions that Microsoft's page names for this version.
	// no edition_not_supported
	// Resetting the PIN above the lock screen with all keys kept is not possible: Windows Pro is not among the editions that Microsoft's page names for this version.
}

// ExampleTenant judges a tenant whose directory did not answer about one of the applications.
func ExampleTenant() {
	facts := readyTenant()
	facts.Client = reading.Unread[readiness.ServicePrincipal](fault.GraphForbidden, "")
	v := readiness.Tenant(facts)
	fmt.Println(v.State, v.Reason)
	fmt.Println(v.Text)
	// Output:
	// unknown unknown_consent
	// It is not known where this tenant stands: A permission or a licence is missing (graph_forbidden).
}

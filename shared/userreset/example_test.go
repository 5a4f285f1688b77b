package userreset_test

import (
	"fmt"

	"pinreset/shared/userreset"
)

// Windows 10, version 1703, on premises: from Settings, not yet above the lock screen.
func ExampleDestructive() {
	for _, place := range userreset.Places() {
		g := userreset.Destructive(place, userreset.OnPremises, 15063)
		fmt.Printf("%s: %s %d steps\n", place, g.Text, len(g.Steps))
	}
	// Output:
	// settings: This Windows version offers it. 5 steps
	// lockscreen: This Windows version resets a PIN from Settings only; above the lock screen it takes Windows 10, version 1709. 0 steps
}

package gpo_test

import (
	"fmt"
	"path"
	"time"

	"pinreset/shared/gpo"
)

// An export is five files; the last one carries the setting.
func ExampleBackup_Files() {
	b := gpo.ForPinRecovery(true, time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC))
	files, err := b.Files()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range files {
		fmt.Println(path.Base(f.Path))
	}
	entries, err := gpo.ParsePol(files[len(files)-1].Data)
	if err != nil {
		fmt.Println(err)
		return
	}
	n, _ := entries[0].Uint32()
	fmt.Printf(`HKLM\%s!%s = %d`, entries[0].Key, entries[0].Value, n)
	// Output:
	// manifest.xml
	// bkupInfo.xml
	// Backup.xml
	// gpreport.xml
	// registry.pol
	// HKLM\SOFTWARE\Policies\Microsoft\PassportForWork!EnablePinRecovery = 1
}

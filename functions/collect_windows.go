package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"pinreset/shared/devicereport"
	"pinreset/shared/readiness"
)

const keyWindows = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`

// collect asks this device. What it can't find out it leaves out, which says that it was not looked at.
func collect(ctx context.Context) (devicereport.Report, error) {
	var r devicereport.Report
	if out, err := tool(ctx, "dsregcmd.exe", "/status"); err == nil {
		r.Status = devicereport.Text(out)
	}
	if len(r.Status) > devicereport.MaxStatus {
		r.Status = strings.ToValidUTF8(r.Status[:devicereport.MaxStatus], "")
	}
	r.Edition, r.OSVersion = windowsVersion()
	status := devicereport.ParseStatus(r.Status)
	tenant, _ := status.Get("Tenant Details", "TenantId")
	for _, place := range devicereport.Places(strings.ToLower(tenant), securityID()) {
		r.Registry = append(r.Registry, look(place))
	}
	r.EventsRead = true
	for _, log := range []string{devicereport.HelloLog, devicereport.RegistrationLog} {
		found, err := readLog(ctx, log)
		if err != nil {
			r.EventsRead = false
			continue
		}
		r.Events = append(r.Events, found...)
	}
	slices.SortFunc(r.Events, func(a, b devicereport.Event) int { return b.At.Compare(a.At) })
	r.Events = r.Events[:min(len(r.Events), devicereport.MaxEvents)]
	r.LockScreen = append(r.LockScreen, devicereport.Limit{ID: readiness.RemoteSession, Holds: told(remote())})
	if domain, ok := status.Get("Device State", "DomainName"); ok && domain != "" {
		_, err := tool(ctx, "nltest.exe", "/dsgetdc:"+domain)
		if _, answered := errors.AsType[*exec.ExitError](err); err == nil || answered {
			r.DomainController = told(err == nil)
		}
	}
	return r, ctx.Err()
}

func told(yes bool) devicereport.Told {
	if yes {
		return devicereport.Yes
	}
	return devicereport.No
}

// tool runs a program of Windows by its whole path: a directory in front of it must not answer in its place.
func tool(ctx context.Context, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	out, err := exec.CommandContext(ctx, filepath.Join(system, name), args...).Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	return out, nil
}

func windowsVersion() (edition, version string) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, keyWindows, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return "", ""
	}
	defer k.Close()
	edition, _, _ = k.GetStringValue("EditionID")
	major, _, err := k.GetIntegerValue("CurrentMajorVersionNumber")
	minor, _, other := k.GetIntegerValue("CurrentMinorVersionNumber")
	build, _, another := k.GetStringValue("CurrentBuildNumber")
	if errors.Join(err, other, another) != nil {
		return edition, ""
	}
	version = fmt.Sprintf("%d.%d.%s", major, minor, build)
	if revision, _, err := k.GetIntegerValue("UBR"); err == nil {
		version += "." + strconv.FormatUint(revision, 10)
	}
	return edition, version
}

// securityID is the user's, "" where it can't be had.
func securityID() string {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return ""
	}
	return user.User.Sid.String()
}

// look reads one value. What is neither a number nor a text says that it could not be read.
func look(place devicereport.Value) devicereport.Value {
	root := registry.LOCAL_MACHINE
	hive, path, _ := strings.Cut(place.Key, `\`)
	if hive == "HKCU" {
		root = registry.CURRENT_USER
	}
	k, err := registry.OpenKey(root, path, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err == nil {
		defer k.Close()
		var n uint64
		if n, _, err = k.GetIntegerValue(place.Name); err == nil {
			place.Data = strconv.FormatUint(n, 10)
		} else if errors.Is(err, registry.ErrUnexpectedType) {
			place.Data, _, err = k.GetStringValue(place.Name)
		}
	}
	switch {
	case err == nil:
		place.State = devicereport.Set
	case errors.Is(err, registry.ErrNotExist):
		place.State = devicereport.Absent
	default:
		place.State = devicereport.Denied
	}
	return place
}

// readLog reads the events of a log that tell of PIN reset, the newest first.
func readLog(ctx context.Context, log string) ([]devicereport.Event, error) {
	var ids []string
	for _, id := range devicereport.EventIDs(log) {
		ids = append(ids, fmt.Sprintf("EventID=%d", id))
	}
	out, err := tool(ctx, "wevtutil.exe", "query-events", log, "/format:xml", "/reversedirection:true", "/count:"+strconv.Itoa(devicereport.MaxEvents/2),
		"/query:*[System[("+strings.Join(ids, " or ")+")]]")
	if err != nil {
		return nil, err
	}
	return devicereport.ParseEvents(log, out)
}

const systemRemoteSession = 0x1000 // SM_REMOTESESSION

var systemMetrics = windows.NewLazySystemDLL("user32.dll").NewProc("GetSystemMetrics")

// remote reports whether this session is one of Remote Desktop.
func remote() bool {
	n, _, _ := systemMetrics.Call(systemRemoteSession) // has no error to tell
	return n != 0
}

package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// Device is a managed device as Intune shows it now, with what pinreset can do for it.
type Device struct {
	ID           string               `json:"id" doc:"Intune's managed device id"`
	Name         string               `json:"name"`
	User         string               `json:"user,omitempty" doc:"User principal name"`
	UserID       string               `json:"userId,omitempty"`
	Platform     string               `json:"platform"`
	OSVersion    string               `json:"osVersion,omitempty"`
	Serial       string               `json:"serial,omitempty"`
	Model        string               `json:"model,omitempty"`
	LastSync     time.Time            `json:"lastSync,omitzero" doc:"The device's last contact with Intune"`
	Eligibility  passcode.Eligibility `json:"eligibility" doc:"Whether its passcode can be reset, and what a reset does"`
	PendingReset string               `json:"pendingReset,omitempty" doc:"Id of the reset that has not ended"`
}

// DeviceDetail is a device with its resets, newest first.
type DeviceDetail struct {
	Device
	Resets []Reset `json:"resets" nullable:"false"`
}

// maxSearch bounds a search text, in bytes; Intune's longest name is a user principal name of 113 characters.
const maxSearch = 256

// Devices lists the tenant's devices, as Graph tells them at this moment. search is an exact device name, user principal
// name or serial number; "" is all. A cursor holds Graph's own place in the list, so that a later page goes on there.
func (r *Room) Devices(ctx context.Context, search string, page Page) (List[Device], error) {
	if err := r.needInEntra(identity.DeviceRead); err != nil {
		return List[Device]{}, err
	}
	search = strings.TrimSpace(search)
	if len(search) > maxSearch {
		return List[Device]{}, invalid("query.search", fmt.Sprintf("must have at most %d characters", maxSearch))
	}
	ctx = graph.WithPriority(ctx, graph.People)
	queries := queriesOf(search)
	return paged(r, "devices "+search, page, func(limit int, place string) (devices []Device, next string, err error) {
		at, err := parseDevicePlace(place, len(queries))
		if err != nil {
			return nil, "", err
		}
		u, seen := r.unit(), map[string]bool{}
		for {
			found, after, err := r.desk.o.Devices.DevicePage(ctx, r.ID(), queries[at.Query], at.After)
			if err != nil {
				return nil, "", err
			}
			for ; at.Skip < len(found); at.Skip++ {
				d := found[at.Skip]
				if seen[d.ID] || at.Query > 0 && finds(queries[0], d) {
					continue
				}
				if len(devices) == limit {
					return devices, at.String(), nil
				}
				seen[d.ID] = true
				shown, _, err := r.device(ctx, u, d)
				if err != nil {
					return nil, "", err
				}
				devices = append(devices, shown)
			}
			switch {
			case after != "":
				at = devicePlace{Query: at.Query, After: after}
			case at.Query+1 < len(queries):
				at = devicePlace{Query: at.Query + 1}
			default:
				return devices, "", nil
			}
			if len(devices) == limit {
				return devices, at.String(), nil
			}
		}
	})
}

// queriesOf are the queries that a search is made of. Graph has no "or" over these fields that is documented to work, so it is
// asked once for each; a device that the first one finds is not shown again.
func queriesOf(search string) []graph.DeviceFilter {
	switch {
	case search == "":
		return []graph.DeviceFilter{{}}
	case strings.Contains(search, "@"):
		return []graph.DeviceFilter{{User: search}, {Name: search}}
	default:
		return []graph.DeviceFilter{{Name: search}, {Serial: search}}
	}
}

// finds reports whether a filter surely finds a device. Whether Graph compares with case is not documented.
func finds(f graph.DeviceFilter, d graph.ManagedDevice) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.Name, d.DeviceName) && is(f.User, d.UserPrincipalName) && is(f.Serial, d.SerialNumber)
}

// devicePlace is a place in the answers to a search: on which page of which query, and how many of its devices were shown.
type devicePlace struct {
	Query int    `json:"q,omitempty"`
	After string `json:"a,omitempty"` // Graph's place of the page
	Skip  int    `json:"s,omitempty"`
}

func (p devicePlace) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // numbers and a text always encode
	}
	return string(text)
}

// parseDevicePlace reads a place that String made, or "", the start.
func parseDevicePlace(text string, queries int) (p devicePlace, err error) {
	if text == "" {
		return p, nil
	}
	if json.Unmarshal([]byte(text), &p) != nil || p.Query < 0 || p.Query >= queries || p.Skip < 0 {
		return p, fmt.Errorf("place in the devices: %w", work.ErrBadPage)
	}
	return p, nil
}

// Device shows one device with its resets.
func (r *Room) Device(ctx context.Context, id string) (DeviceDetail, error) {
	if err := r.needInEntra(identity.DeviceRead); err != nil {
		return DeviceDetail{}, err
	}
	if !events.IsGUID(id) {
		return DeviceDetail{}, missing(nil)
	}
	d, err := r.desk.o.Devices.ManagedDevice(graph.WithPriority(ctx, graph.People), r.ID(), strings.ToLower(id))
	if errors.Is(err, graph.ErrNotFound) {
		return DeviceDetail{}, missing(err)
	}
	if err != nil {
		return DeviceDetail{}, err
	}
	u := r.unit()
	shown, kept, err := r.device(ctx, u, d)
	if err != nil {
		return DeviceDetail{}, err
	}
	out := DeviceDetail{Device: shown, Resets: []Reset{}}
	for _, id := range kept.Resets {
		reset, err := passcode.Read(ctx, u, id)
		if errors.Is(err, work.ErrNotFound) {
			continue // purged
		}
		if err != nil {
			return DeviceDetail{}, fmt.Errorf("read reset %s: %w", id, err)
		}
		out.Resets = append(out.Resets, r.show(reset))
	}
	return out, nil
}

// device shows a device of Graph's, and returns what pinreset keeps of it.
func (r *Room) device(ctx context.Context, u *work.Unit, d graph.ManagedDevice) (Device, passcode.Device, error) {
	kept, err := passcode.ReadDevice(ctx, u, d.ID)
	if err != nil {
		return Device{}, kept, fmt.Errorf("read device %s: %w", d.ID, err)
	}
	return Device{
		ID: strings.ToLower(d.ID), Name: d.DeviceName, User: d.UserPrincipalName, UserID: d.UserID, Platform: d.OperatingSystem,
		OSVersion: d.OSVersion, Serial: d.SerialNumber, Model: d.Model, LastSync: d.LastSync,
		Eligibility: passcode.Check(passcode.Facts{
			OperatingSystem: d.OperatingSystem, OSVersion: d.OSVersion, EnrollmentType: d.EnrollmentType,
			ManagementAgent: d.ManagementAgent, Owner: d.OwnerType,
		}),
		PendingReset: kept.Pending,
	}, kept, nil
}

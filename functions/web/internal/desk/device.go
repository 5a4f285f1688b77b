package desk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
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
// name or serial number; "" is all. A later page is read from the start again: Graph's own place in a list can't be kept.
func (r *Room) Devices(ctx context.Context, search string, page Page) (List[Device], error) {
	if err := r.Need(identity.DeviceRead); err != nil {
		return List[Device]{}, err
	}
	search = strings.TrimSpace(search)
	if len(search) > maxSearch {
		return List[Device]{}, invalid("query.search", fmt.Sprintf("must have at most %d characters", maxSearch))
	}
	ctx = graph.WithPriority(ctx, graph.People)
	return paged(r, "devices "+search, page, func(limit int, place string) (devices []Device, next string, err error) {
		skip, _ := strconv.Atoi(place) // our own, or "" at the start
		u, seen := r.unit(), 0
		for d, err := range r.find(ctx, search) {
			switch {
			case err != nil:
				return nil, "", err
			case len(devices) == limit:
				return devices, strconv.Itoa(skip + limit), nil
			case seen < skip:
				seen++
				continue
			}
			shown, _, err := r.device(ctx, u, d)
			if err != nil {
				return nil, "", err
			}
			devices = append(devices, shown)
		}
		return devices, "", nil
	})
}

// find yields each device that a search finds once. Graph has no "or" over these fields that is documented to work, so it
// is asked once for each.
func (r *Room) find(ctx context.Context, search string) iter.Seq2[graph.ManagedDevice, error] {
	filters := []graph.DeviceFilter{{}}
	switch {
	case strings.Contains(search, "@"):
		filters = []graph.DeviceFilter{{User: search}, {Name: search}}
	case search != "":
		filters = []graph.DeviceFilter{{Name: search}, {Serial: search}}
	}
	return func(yield func(graph.ManagedDevice, error) bool) {
		seen := map[string]bool{}
		for i, filter := range filters {
			for d, err := range r.desk.o.Devices.ManagedDevices(ctx, r.ID(), filter) {
				if err == nil && i > 0 && seen[d.ID] {
					continue
				}
				if len(filters) > 1 {
					seen[d.ID] = true
				}
				if !yield(d, err) || err != nil {
					return
				}
			}
		}
	}
}

// Device shows one device with its resets.
func (r *Room) Device(ctx context.Context, id string) (DeviceDetail, error) {
	if err := r.Need(identity.DeviceRead); err != nil {
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

package devicereport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pinreset/shared/work"
)

// Queue is where reports wait to be read.
const Queue work.Queue = "device-report"

const (
	// Prefix is the row prefix of reports: devicereport|{device}|{id}, those of a device newest first. Their field "at" says when
	// they came.
	Prefix = "devicereport|"
	// ReporterPrefix is the row prefix of how far a device has got: reporter|{device}. Their field "at" says when it last reported.
	ReporterPrefix = "reporter|"
)

// Stored is a report as it is kept.
type Stored struct {
	ID       string          `json:"id"`
	DeviceID string          `json:"deviceId"`
	KeyID    string          `json:"keyId"` // who signed it
	At       time.Time       `json:"at"`    // by our clock
	Body     json.RawMessage `json:"body"`  // as it was signed
	Read     *Reading        `json:"read,omitempty"`
}

// Reading is what was understood of a report, once its function has run.
type Reading struct {
	At      time.Time `json:"at"`
	Resets  []Ended   `json:"resets,omitempty"`
	Unknown int       `json:"unknown,omitempty"` // lines of dsregcmd that are no field
}

// Ended is a PIN reset that a report tells of.
type Ended struct {
	At          time.Time `json:"at"`
	Kind        Kind      `json:"kind,omitempty"`
	Outcome     Outcome   `json:"outcome,omitempty"` // "" is that it was begun, and no more is known
	Signal      string    `json:"signal,omitempty"`
	Meanings    []string  `json:"meanings,omitempty"`
	Diagnostics string    `json:"diagnostics,omitempty"` // page of a failure
}

// Reporter is how far a device has got with its reports.
type Reporter struct {
	Sequence int64     `json:"sequence"` // of its last report
	At       time.Time `json:"at"`
	KeyID    string    `json:"keyId"`
	ReportID string    `json:"reportId"`
	// Reached is the last sequence by the id of the key that signed it, of the keys that were valid at the last report.
	Reached map[string]int64 `json:"reached,omitempty"`
}

// Sequences returns the last sequence by the id of the key that signed it.
func (r Reporter) Sequences() map[string]int64 {
	if r.Reached == nil && r.KeyID != "" {
		return map[string]int64{r.KeyID: r.Sequence} // written before keys were told apart
	}
	return r.Reached
}

func row(device, id string) string {
	return devicePrefix(device) + work.Descending(id)
}

func devicePrefix(device string) string { return Prefix + strings.ToLower(device) + "|" }

// Create stages a report that is new.
func Create(u *work.Unit, s Stored) error { return u.Create(row(s.DeviceID, s.ID), s) }

// Write stages a report that was read before.
func Write(u *work.Unit, s Stored) error { return u.Put(row(s.DeviceID, s.ID), s) }

// Load returns a report of the unit's tenant, or work.ErrNotFound.
func Load(ctx context.Context, u *work.Unit, device, id string) (Stored, error) {
	var s Stored
	return s, u.Get(ctx, row(device, id), &s)
}

// List returns a page of a device's reports, newest first.
func List(ctx context.Context, s work.Store, tenant, device string, limit int, page string) (reports []Stored, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: devicePrefix(device), Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list reports of %s: %w", device, err)
	}
	for _, r := range p.Rows {
		var stored Stored
		if err := json.Unmarshal(r.Value, &stored); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", r.Row, err)
		}
		reports = append(reports, stored)
	}
	return reports, p.Next, nil
}

// Trim stages the removal of a device's reports but the newest of them, at most a page at a time.
func Trim(ctx context.Context, u *work.Unit, device string, keep int) error {
	p, err := u.List(ctx, devicePrefix(device), keep+10, "")
	if err != nil {
		return fmt.Errorf("list reports of %s: %w", device, err)
	}
	for i, r := range p.Rows {
		if i >= keep {
			u.Delete(r.Row)
		}
	}
	return nil
}

// LoadReporter returns how far a device of the unit's tenant has got; for one that never reported, that is the zero Reporter.
func LoadReporter(ctx context.Context, u *work.Unit, device string) (Reporter, error) {
	var r Reporter
	err := u.Get(ctx, ReporterPrefix+strings.ToLower(device), &r)
	if errors.Is(err, work.ErrNotFound) {
		return Reporter{}, nil
	}
	return r, err
}

// WriteReporter stages how far a device has got, over what was loaded.
func WriteReporter(u *work.Unit, device string, r Reporter) error {
	return u.Put(ReporterPrefix+strings.ToLower(device), r)
}

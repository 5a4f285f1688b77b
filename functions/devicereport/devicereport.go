// Package devicereport reads what devices report about themselves: it completes readiness, and explains PIN resets that failed.
//
//	report accepted → facts of the device → readiness
//	                → a PIN reset that failed → failure with the number's meaning, what to do, and a page
//	                → a PIN reset that worked → announced, and noted beside the report
//
// A report is read as often as it is delivered and always says the same, so nothing here needs an intent. Reports are read in
// whatever order they arrive; the facts kept are those of the newest. A PIN reset that an agent goes on telling of raises one
// failure.
package devicereport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/devicereport"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/work"
)

// Function is the handler's name in records and failures.
const Function = "devicereport"

// kept is how many reports of a device stay.
const kept = 30

// Handler handles reports.
type Handler struct{}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: Function, Queue: devicereport.Queue, Handlers: []dispatch.Handler{dispatch.On(h.reported, nil)}}
}

func (h *Handler) reported(ctx context.Context, u *work.Unit, e events.Event, d events.DeviceReported) error {
	stored, err := devicereport.Load(ctx, u, d.DeviceID, d.RequestID)
	if errors.Is(err, work.ErrNotFound) {
		diag.Decide(ctx, u.Now(), "the report is gone: newer ones have taken its place")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read report %s: %w", d.RequestID, err)
	}
	report, err := devicereport.Parse(stored.Body)
	if err != nil {
		return fault.Permanent(fault.MessageInvalid, fmt.Errorf("report %s: %w", d.RequestID, err))
	}
	if report.CollectedAt.After(stored.At) {
		report.CollectedAt = stored.At // a clock that is ahead makes no fact newer than its arrival
	}
	earlier, err := readiness.ReadDevice(ctx, u, d.DeviceID)
	if err != nil && !errors.Is(err, work.ErrNotFound) {
		return fmt.Errorf("read facts of %s: %w", d.DeviceID, err)
	}
	read := devicereport.Reading{At: u.Now(), Unknown: len(devicereport.ParseStatus(report.Status).Other)}
	ends := devicereport.Ends(report, earlier)
	for _, end := range ends[max(0, len(ends)-devicereport.MaxResets):] { // what is staged must fit one commit
		if stored.At.Sub(end.At) > devicereport.MaxAge {
			continue
		}
		if end, err = h.ended(ctx, u, e, d, end); err != nil {
			return err
		}
		read.Resets = append(read.Resets, end)
	}
	if earlier.ReportID < stored.ID { // ids are in the order in which reports were accepted
		facts := devicereport.Read(report, u.Partition(), earlier)
		facts.ReportID = stored.ID
		if err := readiness.WriteDevice(u, d.DeviceID, facts); err != nil {
			return err
		}
		diag.Decide(ctx, u.Now(), "these are the newest facts of the device")
	} else {
		diag.Decide(ctx, u.Now(), "facts of a newer report are kept already")
	}
	stored.Read = &read
	if err := devicereport.Write(u, stored); err != nil {
		return err
	}
	return devicereport.Trim(ctx, u, d.DeviceID, kept)
}

// ended notes how one PIN reset ended, once, however many reports tell of it.
func (h *Handler) ended(ctx context.Context, u *work.Unit, e events.Event, d events.DeviceReported, end devicereport.Ended) (devicereport.Ended, error) {
	if end.Outcome == "" {
		return end, nil
	}
	request := requestOf(d.DeviceID, end)
	if end.Outcome == devicereport.Failed {
		return h.failed(ctx, u, e, d, end, request)
	}
	var seen seenRow
	switch err := u.Get(ctx, seenPrefix+request, &seen); {
	case err == nil:
		return end, nil
	case !errors.Is(err, work.ErrNotFound):
		return end, err
	}
	keys := events.KeysUnknown
	switch end.Kind {
	case devicereport.NonDestructive:
		keys = events.KeysKept
	case devicereport.Destructive:
		keys = events.KeysReplaced
	}
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.DevicePINReset{RequestID: d.RequestID, DeviceID: d.DeviceID, ResetAt: end.At, Keys: keys})
	return end, errors.Join(err, u.Put(seenPrefix+request, seenRow{ExpiresAt: u.Now().Add(2 * devicereport.MaxAge)}))
}

// failed raises a failure under an id of the reset's own, so that it has a page of its own.
func (h *Handler) failed(ctx context.Context, u *work.Unit, e events.Event, d events.DeviceReported, end devicereport.Ended, request string) (devicereport.Ended, error) {
	x := devicereport.Explain(end.Signal)
	id := diag.IDFor(u.Partition(), request)
	end.Diagnostics = diag.Link(u.Partition(), id)
	var earlier diag.Failure
	switch err := u.Get(ctx, diag.PagePrefix+id, &earlier); {
	case err == nil:
		return end, nil
	case !errors.Is(err, work.ErrNotFound):
		return end, err
	}
	detail := "The device reports " + x.Text() + "."
	failure, err := diag.Raise(ctx, u, diag.Failure{
		RequestID: request, Function: Function, Kind: d.Kind(), DeviceID: d.DeviceID, Code: x.Code, Detail: detail,
	})
	diag.Decide(ctx, u.Now(), "a PIN reset has failed on the device: see "+failure.ID)
	steps := []diag.Step{
		{At: end.At, Kind: diag.KindDecision, Text: "the PIN reset ended at the device, by its own clock"},
		{At: u.Now(), Kind: diag.KindDecision, Text: "the device told of it in its report " + d.RequestID},
	}
	for _, meaning := range x.Meanings {
		steps = append(steps, diag.Step{At: u.Now(), Kind: diag.KindDecision, Text: x.Signal + " may mean: " + meaning})
	}
	return end, errors.Join(err, diag.AppendAttempt(u, diag.Attempt{
		RequestID: request, Function: Function, Kind: d.Kind(), MessageID: e.ID, Delivery: 1, QueuedAt: e.Time, StartedAt: u.Now(),
		Verdict: "failed", Code: string(x.Code), Detail: detail, Steps: steps,
	}))
}

// seenPrefix is the row prefix of PIN resets that were announced. Their field "expiresAt" says from when on they may be deleted:
// a reset of then is too old to be news.
const seenPrefix = "pinseen|"

type seenRow struct {
	ExpiresAt time.Time `json:"expiresAt"`
}

// requestOf names a PIN reset: the same one in every report that tells of it.
func requestOf(device string, end devicereport.Ended) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d|%s|%s", device, end.At.Unix(), end.Outcome, end.Signal))
	return "pin-" + hex.EncodeToString(sum[:12])
}

package callback

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/devicekey"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// WebhookPrefix is the row prefix of ids that were taken. Their field "expiresAt" says from when on they may be deleted.
const WebhookPrefix = "webhook|"

// taken remembers a message by its id.
type taken struct {
	Body      []byte    `json:"body"` // SHA-256 of what was signed under it
	ReportID  string    `json:"reportId"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Refusals of a sender who has proven who it is. All others get one answer.
var (
	errReused = errors.New("the webhook-id was used for another body")
	errLate   = errors.New("the sequence is not above that of the device's last report under a valid key")
)

// decoy is what a call under an unknown key is checked against, so that it takes as long as under a known one.
var decoy = webhook.NewShared().Checker()

// report takes a device's report: 202 once it is on stable storage with its message, and for the same id and body again.
func (o Options) report(w http.ResponseWriter, r *http.Request) {
	outcome, id, err := o.take(w, r)
	o.Counted(Result{Device, outcome})
	if err != nil {
		problem.Note(r.Context(), err)
	}
	var said *problem.Problem
	switch outcome {
	case Accepted, Repeated:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(map[string]string{"id": id}) // a device that went away is not told
		return
	case TooLarge:
		said = problem.New(r.Context(), fault.RequestTooLarge, "")
	case Reused:
		said = problem.New(r.Context(), fault.StateConflict, "The webhook-id belongs to a report with another body.")
	case Late:
		said = problem.New(r.Context(), fault.StateConflict, "The sequence must be above that of the device's last report. Where that one was too high, as from a clock that was ahead, revoke its key and make another.")
	case Malformed:
		said = problem.Of(r.Context(), malformed(err), o.Now())
	case Unstored:
		said = problem.Of(r.Context(), err, o.Now())
	default:
		said = problem.New(r.Context(), fault.Unauthenticated, "The report is not signed with a valid key of a device.")
		said.Title = "The report was not believed"
		said.Fix = []string{"Check the address, the key and the clock of the device.", "If the key was lost or revoked, make another: `pinreset device key add DEVICE`."}
		// One body for all of them: the correlation id stays in the header.
		said.CorrelationID = ""
	}
	said.Write(w)
}

func malformed(err error) error {
	if field, ok := errors.AsType[*events.FieldError](err); ok {
		return &problem.Refusal{Code: fault.InvalidRequest, Fields: []problem.Field{{Location: "body." + field.Field, Message: field.Problem}}, Err: err}
	}
	return &problem.Refusal{Code: fault.InvalidRequest, Detail: "The body is not a device report of version 1.", Err: err}
}

// take goes from the cheapest check to the dearest: size, key, signature, then what is in it.
func (o Options) take(w http.ResponseWriter, r *http.Request) (outcome, id string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, devicereport.MaxBytes))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return TooLarge, "", err
	}
	if err != nil {
		return Malformed, "", fmt.Errorf("read body: %w: %w", devicereport.ErrForm, err)
	}
	ctx, now := r.Context(), o.Now()
	tenantID, keyID, ok := devicekey.ParseAddress(r.PathValue("key"))
	if !ok {
		_, _ = webhook.Check(r.Header, body, now, decoy)
		return BadKey, "", devicekey.ErrUnknown
	}
	key, checker, err := o.Keys.Open(ctx, o.unit(tenantID), keyID)
	if errors.Is(err, devicekey.ErrUnknown) {
		_, _ = webhook.Check(r.Header, body, now, decoy)
		return BadKey, "", err
	}
	if err != nil {
		return Unstored, "", err
	}
	problem.Asked(ctx, key.ID)
	m, err := webhook.Check(r.Header, body, now, checker)
	switch {
	case errors.Is(err, webhook.ErrTime):
		return BadTime, "", err
	case errors.Is(err, webhook.ErrHeader):
		return BadHeader, "", err
	case err != nil:
		return Forged, "", err
	}
	report, err := devicereport.Parse(body)
	if err != nil {
		return Malformed, "", err
	}
	for range attempts {
		outcome, id, err = o.keep(ctx, tenantID, key, m, body, report)
		if !errors.Is(err, work.ErrConflict) {
			break
		}
	}
	return outcome, id, err
}

// attempts bounds how often a report is tried again because another one of the device was faster.
const attempts = 20

// keep commits the report, its message, its id and the device's sequence together.
func (o Options) keep(ctx context.Context, tenantID string, key devicekey.Key, m webhook.Message, body []byte, report devicereport.Report) (outcome, id string, err error) {
	u := o.unit(tenantID)
	sum := sha256.Sum256(body)
	// The sequence is read before the id: both are committed together, so a report whose sequence is found used by its own twin is found
	// to be taken, too.
	last, err := devicereport.LoadReporter(ctx, u, key.DeviceID)
	if err != nil {
		return Unstored, "", err
	}
	row := takenRow(key.DeviceID, m.ID)
	var earlier taken
	switch err := u.Get(ctx, row, &earlier); {
	case errors.Is(err, work.ErrNotFound):
	case err != nil:
		return Unstored, "", err
	case !u.Now().Before(earlier.ExpiresAt):
	case string(earlier.Body) != string(sum[:]):
		return Reused, "", errReused
	default:
		return Repeated, earlier.ReportID, nil
	}
	reached := o.reached(ctx, u, last)
	for _, sequence := range reached {
		if report.Sequence <= sequence {
			return Late, "", fmt.Errorf("sequence %d after %d: %w", report.Sequence, sequence, errLate)
		}
	}
	reached[key.ID] = report.Sequence
	// The key is looked at again in this unit, late: a revocation that was committed before counts.
	if _, _, err := o.Keys.Open(ctx, u, key.ID); errors.Is(err, devicekey.ErrUnknown) {
		return BadKey, "", err
	} else if err != nil {
		return Unstored, "", err
	}
	id = u.NewID()
	_, err = u.Send(ctx, devicereport.Queue, time.Time{}, events.DeviceReported{RequestID: id, DeviceID: key.DeviceID})
	err = errors.Join(err,
		devicereport.Create(u, devicereport.Stored{ID: id, DeviceID: key.DeviceID, KeyID: key.ID, At: u.Now(), Body: body}),
		devicereport.WriteReporter(u, key.DeviceID, devicereport.Reporter{Sequence: report.Sequence, At: u.Now(), KeyID: key.ID, ReportID: id, Reached: reached}),
		u.Put(row, taken{Body: sum[:], ReportID: id, ExpiresAt: u.Now().Add(webhook.Memory)}))
	if err == nil {
		err = u.Commit(ctx)
	}
	if err != nil {
		return Unstored, "", err
	}
	return Accepted, id, nil
}

// reached returns the last sequence under each key of the device that is still valid. What was signed with a revoked key does not
// count: whoever stole it could have taken the highest number there is, and a clock that was years ahead takes one too high by
// itself, and the device would never be heard again. Replays gain nothing by that, because no other key checks their signature.
func (o Options) reached(ctx context.Context, u *work.Unit, last devicereport.Reporter) map[string]int64 {
	valid := map[string]int64{}
	for id, sequence := range last.Sequences() {
		// A key that could not be read counts as valid: it is not known to be gone.
		if _, _, err := o.Keys.Open(ctx, u, id); !errors.Is(err, devicekey.ErrUnknown) {
			valid[id] = sequence
		}
	}
	return valid
}

// takenRow is by device, not by key: a report that is sent again after the device has got another key is the same report.
func takenRow(device, id string) string {
	sum := sha256.Sum256([]byte(device + "\x00" + id))
	return WebhookPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (o Options) unit(tenantID string) *work.Unit {
	return work.NewUnit(o.Store, tenantID, o.Now(), o.NewID)
}

package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// Failure is a request that ended without its result.
type Failure struct {
	diag.Failure
	Title       string `json:"title"`
	Diagnostics string `json:"diagnostics" doc:"Path of its page"`
}

// Failures lists the tenant's failures, newest first.
func (r *Room) Failures(ctx context.Context, page Page) (List[Failure], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[Failure]{}, err
	}
	return paged(r, "failures", page, func(limit int, place string) ([]Failure, string, error) {
		return rows(ctx, r, diag.FailurePrefix, limit, place, func(f diag.Failure) Failure {
			return Failure{Failure: f, Title: titleOf(f.Code), Diagnostics: diag.Link(r.ID(), f.ID)}
		})
	})
}

// Failure shows everything about the failure with the diagnostics id.
func (r *Room) Failure(ctx context.Context, id string) (diag.Page, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return diag.Page{}, err
	}
	page, err := diag.Load(ctx, r.desk.o.Store, r.ID(), id)
	if errors.Is(err, work.ErrNotFound) {
		return page, missing(err)
	}
	if page.Timeline == nil {
		page.Timeline = []diag.Attempt{}
	}
	return page, err
}

// Letter is a message that was set aside, without what it carried.
type Letter struct {
	ID          string     `json:"id"`
	Queue       work.Queue `json:"queue"`
	MessageID   string     `json:"messageId"`
	RequestID   string     `json:"requestId,omitempty"`
	Kind        string     `json:"kind,omitempty"`
	Reason      fault.Code `json:"reason"`
	Title       string     `json:"title"`
	Detail      string     `json:"detail"`
	Deliveries  int        `json:"deliveries" doc:"How often it was tried"`
	At          time.Time  `json:"at"`
	Diagnostics string     `json:"diagnostics"`
	Bytes       int        `json:"bytes" doc:"Size of the message's body"`
}

// LetterDetail is a dead letter with its event, where it carries one. A body that is no event of a known kind could hold
// anything and is not shown.
type LetterDetail struct {
	Letter
	Body json.RawMessage `json:"body,omitempty" doc:"The event"`
}

// Reason is why something is done.
type Reason struct {
	Reason string `json:"reason" doc:"Why, for the audit log"`
}

// Replayed names the message that a dead letter became.
type Replayed struct {
	ID        string     `json:"id"`
	Queue     work.Queue `json:"queue"`
	MessageID string     `json:"messageId"`
}

// Dropped names a dead letter that was deleted.
type Dropped struct {
	ID string `json:"id"`
}

func show(l diag.DeadLetter) Letter {
	return Letter{
		ID: l.ID, Queue: l.Queue, MessageID: l.MessageID, RequestID: l.RequestID, Kind: l.Kind, Reason: l.Reason,
		Title: titleOf(l.Reason), Detail: l.Detail, Deliveries: l.Deliveries, At: l.At, Diagnostics: l.Diagnostics, Bytes: len(l.Body),
	}
}

// Letters lists the tenant's dead letters, newest first.
func (r *Room) Letters(ctx context.Context, page Page) (List[Letter], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[Letter]{}, err
	}
	return paged(r, "deadletters", page, func(limit int, place string) ([]Letter, string, error) {
		return rows(ctx, r, diag.LetterPrefix, limit, place, show)
	})
}

// Letter shows one dead letter.
func (r *Room) Letter(ctx context.Context, id string) (LetterDetail, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return LetterDetail{}, err
	}
	l, err := readLetter(ctx, r.unit(), id)
	if err != nil {
		return LetterDetail{}, err
	}
	out := LetterDetail{Letter: show(l)}
	if e, err := events.Parse(l.Body); err == nil {
		if out.Body, err = json.Marshal(e); err != nil {
			return LetterDetail{}, fmt.Errorf("encode dead letter %s: %w", id, err)
		}
	}
	return out, nil
}

func readLetter(ctx context.Context, u *work.Unit, id string) (diag.DeadLetter, error) {
	var l diag.DeadLetter
	err := u.Get(ctx, letterRow(id), &l)
	if errors.Is(err, work.ErrNotFound) || errors.Is(err, work.ErrBadKey) {
		return l, missing(err)
	}
	return l, err
}

func letterRow(id string) string { return diag.LetterPrefix + work.Descending(id) }

// Replay sends a dead letter's message again, as a new message to the same queue, and removes the letter.
func (r *Room) Replay(ctx context.Context, key, id string, in Reason) (Answer[Replayed], error) {
	return settle(ctx, r, key, "replay ", id, in, func(u *work.Unit, l diag.DeadLetter) (Answer[Replayed], error) {
		m := work.Message{ID: replayID(l.MessageID), Queue: l.Queue, Partition: r.ID(), Body: l.Body}
		u.Post(m)
		return Answer[Replayed]{Status: http.StatusAccepted, Body: Replayed{ID: l.ID, Queue: l.Queue, MessageID: m.ID}},
			r.recordLetter(u, audit.LetterReplayed, l, in)
	})
}

// Drop deletes a dead letter.
func (r *Room) Drop(ctx context.Context, key, id string, in Reason) (Answer[Dropped], error) {
	return settle(ctx, r, key, "drop ", id, in, func(u *work.Unit, l diag.DeadLetter) (Answer[Dropped], error) {
		return Answer[Dropped]{Status: http.StatusOK, Body: Dropped{ID: l.ID}}, r.recordLetter(u, audit.LetterDropped, l, in)
	})
}

// settle ends a dead letter in the way of fn.
func settle[T any](ctx context.Context, r *Room, key, what, id string, in Reason, fn func(*work.Unit, diag.DeadLetter) (Answer[T], error)) (Answer[T], error) {
	var none Answer[T]
	if err := r.Need(identity.DeadLetterReplay); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	c, err := r.call(key, what+id, in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[T], error) {
		l, err := readLetter(ctx, u, id)
		if err != nil {
			return none, err
		}
		u.Delete(letterRow(id))
		return fn(u, l)
	})
}

func (r *Room) recordLetter(u *work.Unit, action string, l diag.DeadLetter, in Reason) error {
	return audit.Append(u, audit.Entry{
		Actor: r.who.Operator(), Action: action, RequestID: l.RequestID, Reason: in.Reason,
		Change: map[string]string{"message": l.MessageID, "letter": l.ID},
	})
}

const replaySuffix = ".replay."

// replayID is the id of the message that a dead letter becomes: the queue has seen the old one and would drop it.
func replayID(id string) string {
	if i := strings.LastIndex(id, replaySuffix); i >= 0 {
		if n, err := strconv.Atoi(id[i+len(replaySuffix):]); err == nil {
			return id[:i] + replaySuffix + strconv.Itoa(n+1)
		}
	}
	return id + replaySuffix + "1"
}

// rows reads one page of rows of the room with the prefix and shows each.
func rows[R, T any](ctx context.Context, r *Room, prefix string, limit int, place string, show func(R) T) ([]T, string, error) {
	p, err := r.desk.o.Store.List(ctx, work.Query{Partition: r.ID(), Prefix: prefix, Limit: limit, Page: place})
	if err != nil {
		return nil, "", fmt.Errorf("list %s of %s: %w", prefix, r.ID(), err)
	}
	shown := make([]T, 0, len(p.Rows))
	for _, row := range p.Rows {
		var v R
		if err := json.Unmarshal(row.Value, &v); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		shown = append(shown, show(v))
	}
	return shown, p.Next, nil
}

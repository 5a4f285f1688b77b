package desk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

const (
	// OncePrefix is the row prefix of answers that were given under an idempotency key. Their field "expiresAt" says from
	// when on they may be deleted.
	OncePrefix = "idem|"
	// onceLife is how long a key is remembered: longer than a webhook is retried.
	onceLife = 9 * 24 * time.Hour
	// MaxKey is the longest idempotency key.
	MaxKey = 128
)

// Answer is what a change answered, and answers again when it is repeated.
type Answer[T any] struct {
	Status   int    `json:"status"`             // HTTP status
	Location string `json:"location,omitempty"` // path of what was made
	Body     T      `json:"body"`
}

// call names a change: who asks under which key, and what for. Two calls are the same when all of it is.
type call struct {
	who  string // the principal, or "" where the key itself is unique in the partition
	key  string
	what string // the operation with the ids of its path
	body any    // what was sent, as JSON
}

type onceRow struct {
	Fingerprint []byte          `json:"fingerprint"`
	Answer      json.RawMessage `json:"answer"`
	ExpiresAt   time.Time       `json:"expiresAt"`
}

// once makes the change that fn stages, or returns the answer that the same call was given before. The answer is kept in the
// commit of the change, so there is never one without the other. The key with another call is refused.
func once[T any](ctx context.Context, d *Desk, partition string, c call, fn func(u *work.Unit) (Answer[T], error)) (Answer[T], error) {
	var answer Answer[T]
	fingerprint, err := c.fingerprint()
	if err != nil {
		return answer, err
	}
	row := c.row()
	err = d.change(ctx, partition, func(u *work.Unit) error {
		var earlier onceRow
		switch err := u.Get(ctx, row, &earlier); {
		case errors.Is(err, work.ErrNotFound):
		case err != nil:
			return fmt.Errorf("read idempotency key: %w", err)
		case !u.Now().Before(earlier.ExpiresAt):
		case string(earlier.Fingerprint) != string(fingerprint):
			return problem.Refuse(fault.IdempotencyKeyReused, "")
		default:
			answer = Answer[T]{}
			return json.Unmarshal(earlier.Answer, &answer)
		}
		var err error
		if answer, err = fn(u); err != nil {
			return d.refusedOnce(ctx, partition, row, err)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		return u.Put(row, onceRow{Fingerprint: fingerprint, Answer: text, ExpiresAt: u.Now().Add(onceLife)})
	})
	return answer, err
}

// refusedOnce returns why fn refused, unless the same call was answered since the key was read: then what fn saw is that
// call's own effect, and the answer is to be read again.
func (d *Desk) refusedOnce(ctx context.Context, partition, row string, refusal error) error {
	got, err := d.o.Store.Get(ctx, work.Key{Partition: partition, Row: row})
	var earlier onceRow
	if err != nil || json.Unmarshal(got.Value, &earlier) != nil || !d.o.Now().Before(earlier.ExpiresAt) {
		return refusal
	}
	return fmt.Errorf("%w: %w", work.ErrConflict, refusal)
}

func (c call) row() string {
	sum := sha256.Sum256([]byte(c.who + "\x00" + c.key))
	return OncePrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

func (c call) fingerprint() ([]byte, error) {
	body, err := json.Marshal(c.body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(append([]byte(c.what+"\x00"), body...))
	return sum[:], nil
}

// call checks the key and names a change in the room.
func (r *Room) call(key, what string, body any) (call, error) {
	return callBy(r.who.ID, key, what, body)
}

func callBy(who, key, what string, body any) (call, error) {
	if key == "" {
		return call{}, problem.Refuse(fault.IdempotencyKeyMissing, "")
	}
	if len(key) > MaxKey {
		return call{}, invalid("header.Idempotency-Key", fmt.Sprintf("must have at most %d characters", MaxKey))
	}
	for _, c := range []byte(key) {
		if c < 0x20 || c > 0x7e {
			return call{}, invalid("header.Idempotency-Key", "must be printable ASCII")
		}
	}
	return call{who: who, key: key, what: what, body: body}, nil
}

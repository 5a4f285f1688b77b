package tables

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// Limits of one transaction (Performing entity group transactions).
const (
	maxActions = 100
	maxRequest = 4 << 20
)

// action is one operation of a transaction, and the write that it came from.
type action struct {
	aztables.TransactionAction
	write int
}

// Transact makes the writes in one entity group transaction.
//
// Table storage has no deletion that passes when there is nothing to delete, and none on condition that there is nothing.
// The first is left out when the service says that the row is missing; for the second the row is looked up before, so somebody
// who creates it at that moment goes unnoticed. Only the absence of a row that is not written is ever missed.
func (t *Table) Transact(ctx context.Context, partition string, writes []work.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	actions, err := t.prepare(ctx, partition, writes)
	if err != nil {
		return err
	}
	for tries := 0; len(actions) > 0; tries++ {
		a, err := t.submit(ctx, actions)
		switch {
		case err != nil:
			return fmt.Errorf("submit transaction of %d operations: %w", len(actions), err)
		case a.status < http.StatusBadRequest:
			return nil
		case a.missing():
			left, err := t.withoutMissing(ctx, partition, actions, a, writes)
			if err != nil {
				return err
			}
			if len(left) == len(actions) {
				return &outbox.Refused{Write: a.write(actions)}
			}
			actions = left
		case a.refused():
			return &outbox.Refused{Write: a.write(actions)}
		case a.passing() && tries < 3:
			if err := pause(ctx, 200*time.Millisecond<<tries); err != nil {
				return fmt.Errorf("submit transaction: %w: %w", a, err)
			}
		default:
			return fmt.Errorf("submit transaction of %d operations: %w", len(actions), a)
		}
	}
	return nil
}

// prepare makes operations of the writes, and checks what the service would.
func (t *Table) prepare(ctx context.Context, partition string, writes []work.Write) ([]action, error) {
	if !storable(partition) {
		return nil, fmt.Errorf("partition of %d bytes: %w", len(partition), work.ErrBadKey)
	}
	if len(writes) > maxActions {
		return nil, fmt.Errorf("transaction of %d operations, at most %d: %w", len(writes), maxActions, work.ErrTooLarge)
	}
	var actions []action
	seen := make(map[string]bool, len(writes))
	for i, w := range writes {
		if !storable(w.Row) || seen[w.Row] {
			return nil, fmt.Errorf("write %d has a key that is not allowed or comes twice: %w", i, work.ErrBadKey)
		}
		seen[w.Row] = true
		if w.Delete {
			w.Value = nil
			if w.If.Absent() {
				switch _, err := t.Get(ctx, work.Key{Partition: partition, Row: w.Row}); {
				case err == nil:
					return nil, &outbox.Refused{Write: i}
				case !errors.Is(err, work.ErrNotFound):
					return nil, err
				}
				continue
			}
		}
		entity, err := encode(partition, w.Row, w.Value)
		if err != nil {
			return nil, fmt.Errorf("write %d: %w", i, err)
		}
		a := action{aztables.TransactionAction{ActionType: kindOf(w), Entity: entity}, i}
		if text, ok := w.If.ETag(); ok {
			if !versionPattern.MatchString(text) {
				return nil, &outbox.Refused{Write: i} // no row ever had it, and the service would call it malformed
			}
			etag := azcore.ETag(text)
			a.IfMatch = &etag
		}
		actions = append(actions, a)
	}
	return actions, nil
}

func kindOf(w work.Write) aztables.TransactionType {
	_, match := w.If.ETag()
	switch {
	case w.Delete:
		return aztables.TransactionTypeDelete
	case w.If.Absent():
		return aztables.TransactionTypeAdd
	case match:
		return aztables.TransactionTypeUpdateReplace
	default:
		return aztables.TransactionTypeInsertReplace // whatever is there
	}
}

// versionPattern is that of the service's ETags. One with "*" would match everything.
var versionPattern = regexp.MustCompile(`^W/"datetime'[0-9A-Za-z%:.+-]+'"$`)

// withoutMissing leaves out deletions of rows that do not exist, which is no error where no version was asked for.
func (t *Table) withoutMissing(ctx context.Context, partition string, actions []action, a answer, writes []work.Write) ([]action, error) {
	free := func(o action) bool {
		_, match := writes[o.write].If.ETag()
		return o.ActionType == aztables.TransactionTypeDelete && !match
	}
	if a.index >= 0 && a.index < len(actions) && !free(actions[a.index]) {
		return actions, nil
	}
	var left []action
	for i, o := range actions {
		if free(o) {
			if i == a.index {
				continue
			}
			_, err := t.Get(ctx, work.Key{Partition: partition, Row: writes[o.write].Row})
			if errors.Is(err, work.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		left = append(left, o)
	}
	return left, nil
}

// submit sends the transaction and reads the answer.
func (t *Table) submit(ctx context.Context, actions []action) (a answer, err error) {
	bare := make([]aztables.TransactionAction, len(actions))
	for i := range actions {
		bare[i] = actions[i].TransactionAction
	}
	var raw *http.Response
	ctx = policy.WithCaptureResponse(ctx, &raw)
	_, err = t.submitted(ctx, bare)
	var refused *azcore.ResponseError
	switch {
	case raw == nil || err != nil && !errors.As(err, &refused):
		if err == nil {
			err = errors.New("there is no answer")
		}
		return answer{}, err
	case raw.StatusCode != http.StatusAccepted:
		return plainAnswer(raw.StatusCode, refused), nil
	}
	body, err := runtime.Payload(raw)
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return readAnswer(raw.Header.Get("Content-Type"), body, len(actions))
}

// submitted is the client's SubmitTransaction, which panics on an empty answer.
func (t *Table) submitted(ctx context.Context, actions []aztables.TransactionAction) (r aztables.TransactionResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the client could not read the answer: %v", p)
		}
	}()
	return t.client.SubmitTransaction(ctx, actions, nil)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sizeGuard refuses a request that is larger than the service takes, where its size is known to the byte.
type sizeGuard struct{}

func (sizeGuard) Do(r *policy.Request) (*http.Response, error) {
	if n := r.Raw().ContentLength; n > maxRequest {
		return nil, fmt.Errorf("request of %d bytes, at most %d: %w", n, maxRequest, work.ErrTooLarge)
	}
	return r.Next()
}

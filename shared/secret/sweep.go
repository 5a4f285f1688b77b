package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"pinreset/shared/work"
)

const (
	// orphanAge is how long a key may wait for its envelope. It is stored before its envelope in the same run of a handler,
	// and a run takes a minute and a half at most.
	orphanAge = time.Hour
	sweepKeys = 200 // keys a page
)

// Sweep destroys keys of the tenant that nobody needs any more: those at or past their expiry, and those that were made an
// hour ago or earlier and that needed says no envelope refers to. It looks at one page of keys; next is "" after the last
// one. All keys of a page are erased together, and the key ring's write-ahead log is emptied once, whether or not there was a key.
//
// It is the second line: a key is destroyed at its expiry, by [Vault.Destroy]. A row that can't be read opens nothing, and is
// destroyed like one that has expired: to lose a code costs another reset, to keep one could cost more.
func (v *Vault) Sweep(ctx context.Context, tenant, page string, needed func(ctx context.Context, request, id string) (bool, error)) (destroyed int, next string, err error) {
	now := v.now()
	p, err := v.ring.List(ctx, work.Query{Partition: tenant, Prefix: keyPrefix, Limit: sweepKeys, Page: page})
	if err != nil {
		return 0, "", fmt.Errorf("list keys of %s: %w", tenant, err)
	}
	var doomed []work.Key
	for _, row := range p.Rows {
		var stored ringRow
		keep := json.Unmarshal(row.Value, &stored) == nil && now.Before(stored.ExpiresAt)
		// Keys of the first versions don't name their request; they end by their expiry.
		if keep && stored.Request != "" && now.Sub(stored.CreatedAt) >= orphanAge {
			id := strings.TrimPrefix(row.Row, keyPrefix)
			if keep, err = needed(ctx, stored.Request, id); err != nil {
				return 0, "", fmt.Errorf("look for envelope %s: %w", id, err)
			}
		}
		if !keep {
			doomed = append(doomed, row.Key)
		}
	}
	// Also without a key: an earlier erasure may have been cut short between its rows and its log.
	if err := v.ring.Erase(ctx, doomed...); err != nil {
		return 0, "", fmt.Errorf("destroy %d keys of %s: %w", len(doomed), tenant, err)
	}
	return len(doomed), p.Next, nil
}

package secret

import (
	"context"
	"fmt"
	"slices"

	"pinreset/shared/work"
)

// Ring is a key ring in any store of rows, so that several processes share it. The store must be the ring's own, such as a table
// of its own, because it is left out of backups and copies.
//
// What destroying means in table storage: the row is deleted, and with it the only copy of the wrapped key that pinreset has.
// Soft delete, versions and restore to a point in time are blobs' ("Data protection overview"); tables have none of these, so a
// deleted entity can't be asked for again. What the service keeps of it on its disks, and for how long, is not published.
// Therefore "unreadable after seven days" does not rest on that row alone: under a [Chain] the key that wraps it is destroyed as
// well, an hour and seven days after it was made, and what may be left of both is of no use without the root key.
type Ring struct{ work.Store }

// NewRing returns the key ring in the store.
func NewRing(store work.Store) *Ring { return &Ring{store} }

// Erase deletes the rows. Rows that are not there are no error, so a caller repeats an Erase that failed: it may have deleted
// some of them.
func (r *Ring) Erase(ctx context.Context, keys ...work.Key) error {
	partitions := map[string][]work.Write{}
	for _, key := range keys {
		partitions[key.Partition] = append(partitions[key.Partition], work.Write{Row: key.Row, Delete: true})
	}
	for partition, writes := range partitions {
		for some := range slices.Chunk(writes, work.MaxOperations) {
			if err := r.Commit(ctx, work.Batch{Partition: partition, Writes: some}); err != nil {
				return fmt.Errorf("erase %d rows of %s: %w", len(some), partition, err)
			}
		}
	}
	return nil
}

// ErasePartition deletes all rows of the partition, until it finds none, and returns how many that were. A ring has no messages.
func (r *Ring) ErasePartition(ctx context.Context, partition string) (rows, messages int, err error) {
	for {
		page, err := r.List(ctx, work.Query{Partition: partition, Limit: work.MaxOperations})
		if err != nil {
			return rows, 0, fmt.Errorf("list %s: %w", partition, err)
		}
		var keys []work.Key
		for _, row := range page.Rows {
			keys = append(keys, row.Key)
		}
		if err := r.Erase(ctx, keys...); err != nil {
			return rows, 0, err
		}
		rows += len(keys)
		// A page may be empty and still be followed by another; what stood on those before is gone.
		if len(keys) == 0 && page.Next == "" {
			return rows, 0, nil
		}
	}
}

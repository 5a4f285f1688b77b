package sqlitework

import (
	"context"
	"fmt"

	"pinreset/shared/work"
)

// Take stores a message that somebody else delivers, such as the host of Azure Functions, and hands it out in the same commit. Once it has
// returned without an error the message is the store's own: a sender that sends it again adds nothing, and if the process ends it comes
// back as any other does. held is false where there is nothing to run now: the message is done, runs already, or waits for
// its time.
func (s *Store) Take(ctx context.Context, m work.Message) (d work.Delivery, held bool, err error) {
	if err := (work.Batch{Partition: m.Partition, Messages: []work.Message{m}}).Validate(); err != nil {
		return work.Delivery{}, false, err
	}
	err = s.writer.do(ctx, len(m.Body), func(g *group) error {
		if err := g.send(m); err != nil {
			return err
		}
		claimed, err := g.deliveries(g.sql.claimOne, m.Queue, m.Partition, m.ID)
		if err == nil && len(claimed) > 0 {
			d, held = claimed[0], true
		}
		return err
	})
	if err != nil {
		return work.Delivery{}, false, fmt.Errorf("take message %s: %w", m.ID, err)
	}
	return d, held, nil
}

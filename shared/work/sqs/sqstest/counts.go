package sqstest

import "time"

// Counts are how many messages a queue has, by where they are. SQS tells the same three numbers, about
// (GetQueueAttributes: ApproximateNumberOfMessages, …NotVisible and …Delayed); these are exact.
type Counts struct {
	Visible int       // to be received now
	InHands int       // received, and neither deleted nor visible again
	Delayed int       // sent with a delay that is not over
	Next    time.Time // when the first of those comes due; zero where there is none
}

// Counts are those of every queue at one moment.
func (s *Server) Counts() map[string]Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, all := s.now(), map[string]Counts{}
	for name, q := range s.queues {
		var c Counts
		for _, m := range q.messages {
			switch {
			case m.until.After(now):
				c.InHands++
			case m.due.After(now):
				c.Delayed++
				if c.Next.IsZero() || m.due.Before(c.Next) {
					c.Next = m.due
				}
			default:
				c.Visible++
			}
		}
		all[name] = c
	}
	return all
}

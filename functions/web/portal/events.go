package portal

import (
	"errors"
	"net/http"
	"time"

	"pinreset/shared/identity"
	"pinreset/shared/live"
)

const (
	// streamLife is how long a stream may go on. Front ends cut what lasts longer, at 230 seconds in Azure; a browser whose stream was ended
	// comes back by itself, with its place in it.
	streamLife = 200 * time.Second
	// streamRest is how long at most passes between two frames, so that the end is never late; it is the feed's beat with room to spare.
	streamRest = 20 * time.Second
	// sendTime is how long a frame may take to be taken over by the network.
	sendTime = 5 * time.Second
)

// events streams what changes in the tenant, as Server-Sent Events: references and states only, see package live. The page asks for the rest.
//
// Where nothing can be streamed the answer is 204, which the standard has a browser not ask again after (HTML Living Standard, "Server-sent
// events"); the page goes on loading itself again.
func (p *pages) events(v *visit) error {
	stream := http.NewResponseController(v.w)
	if err := v.room.Need(identity.TenantRead); err != nil {
		return err
	}
	// A process may be in front that takes whole answers only, and so may what stands between us and the network.
	if p.Live == nil || stream.SetWriteDeadline(time.Time{}) != nil {
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	viewer, err := p.Live.Watch(v.r.Context(), v.room.ID(), v.r.Header.Get("Last-Event-ID"))
	if errors.Is(err, live.ErrFull) || errors.Is(err, live.ErrClosed) {
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	defer viewer.Close()
	// The time for reading the request has its end in the server's settings; after it the connection would pass for closed.
	if err := stream.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // has nginx pass on each frame
	v.w.WriteHeader(http.StatusOK)
	for end := p.Now().Add(streamLife - streamRest); ; {
		frame, err := viewer.Next(v.r.Context())
		if err != nil || !p.stillIn(v) || stream.SetWriteDeadline(time.Now().Add(sendTime)) != nil {
			return nil //nolint:nilerr // half a stream is no page to show an error on; the browser comes back, and is told then
		}
		if _, err := v.w.Write(frame); err != nil || stream.Flush() != nil {
			return nil //nolint:nilerr // the browser went away
		}
		if !p.Now().Before(end) {
			return nil
		}
	}
}

// stillIn reports whether whoever asked may still see the tenant. Looking on is no use of the session: it ends as it would have.
func (p *pages) stillIn(v *visit) bool {
	who, err := p.holder(v.r)
	if err != nil {
		return false
	}
	room, err := p.Desk.Enter(v.r.Context(), who, v.room.ID())
	return err == nil && room.Can(identity.TenantRead)
}

package notification

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"pinreset/events"
	"pinreset/shared/egress"
	"pinreset/shared/fault"
	"pinreset/shared/notice"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// maxAnswer bounds what is read of an answer, in bytes, so that its connection can be used again. Nothing of it is kept.
const maxAnswer = 4 << 10

// post sends a delivery to the tenant's address.
func (h *Handler) post(ctx context.Context, u *work.Unit, s notice.Settings, d notice.Delivery) (to string, err error) {
	endpoint := s.Endpoint(d.Channel)
	if !endpoint.On || len(endpoint.Sealed) == 0 {
		return endpoint.Host, &skip{notice.TurnedOff}
	}
	to = endpoint.Host
	opened, signer, err := h.Seals.Open(ctx, u.Partition(), d.Channel, *endpoint)
	if err != nil {
		return to, err
	}
	body, header := []byte(nil), http.Header{}
	if d.Channel == events.NoticeByTeams {
		body, err = notice.Card(d)
	} else if body, err = notice.Body(u.Partition(), d); err == nil {
		header = webhook.Sign(signer, d.ID, u.Now(), body)
	}
	if err != nil {
		return to, fmt.Errorf("encode %s: %w", d.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, opened.Address, bytes.NewReader(body))
	if err != nil {
		return to, &untaken{code: fault.NotificationRefused, text: to + ": the address is not in its form"} // the error would quote it
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "pinreset")
	resp, err := h.Client.Do(req)
	if err != nil {
		return to, unreached(to, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		return to, nil
	case resp.StatusCode == http.StatusGone:
		return to, &untaken{code: fault.NotificationGone, text: to + " answered 410"}
	}
	return to, &untaken{text: fmt.Sprintf("%s answered %d", to, resp.StatusCode)}
}

// unreached is a call without an answer. The client's own error quotes the address, which may be a secret, and the network's own tell of the
// network that this runs in. Whoever set the address reads the text.
func unreached(to string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if errors.Is(err, egress.ErrRefused) {
		return &untaken{code: fault.NotificationRefused, text: to + ": " + egress.ErrRefused.Error(), err: err}
	}
	return &untaken{text: to + " was not reached: " + cause(err), err: err}
}

// cause is why, without the addresses of name servers and of this machine.
func cause(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return "no such host"
		}
		return "its name could not be resolved"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Op + ": " + cause(e.Err)
	}
	return err.Error()
}

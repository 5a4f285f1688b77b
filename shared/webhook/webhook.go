package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of a signed request.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const (
	// Tolerance is how far a timestamp may be from the checker's clock, to either side.
	Tolerance = 5 * time.Minute
	// Memory is how long ids are to be kept by whoever acts on requests: a sender by the specification's schedule of retries
	// goes on for 75 hours and 35 minutes, and one that was off for a weekend is later still.
	Memory = 8 * 24 * time.Hour

	maxID         = 128
	maxSignatures = 8
)

// Why a request was not believed. A sender is told none of it.
var (
	// ErrHeader: a header is missing, is there twice, or is not in its form.
	ErrHeader = errors.New("webhook header is missing or wrong")
	// ErrTime: the timestamp is more than [Tolerance] from the clock.
	ErrTime = errors.New("webhook timestamp is too far from the clock")
	// ErrSignature: no signature is one of the keys'.
	ErrSignature = errors.New("webhook signature does not hold")
)

// Message is what the headers of a believed request say.
type Message struct {
	ID string    // the same in every retry
	At time.Time // of this attempt, by the sender's clock
}

// Sign returns the headers of a request with the body, sent at the time.
func Sign(key Signer, id string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, string(key.scheme)+","+base64.StdEncoding.EncodeToString(key.sign(signed(id, stamp, body))))
	return h
}

// Check returns what the headers say where one of their signatures was made with one of the keys, over exactly this body.
// Keys that are valid side by side are how a key is changed without losing a request.
func Check(h http.Header, body []byte, now time.Time, keys ...Checker) (Message, error) {
	id, err := only(h, HeaderID)
	if err != nil {
		return Message{}, err
	}
	stamp, err := only(h, HeaderTimestamp)
	if err != nil {
		return Message{}, err
	}
	list, err := only(h, HeaderSignature)
	if err != nil {
		return Message{}, err
	}
	if !isID(id) {
		return Message{}, fmt.Errorf("%s: %w", HeaderID, ErrHeader)
	}
	at, err := seconds(stamp)
	if err != nil {
		return Message{}, err
	}
	if off := now.Sub(at); off > Tolerance || off < -Tolerance {
		return Message{}, fmt.Errorf("off by %s: %w", off.Round(time.Second), ErrTime)
	}
	if !holds(list, signed(id, stamp, body), keys) {
		return Message{}, ErrSignature
	}
	return Message{ID: id, At: at}, nil
}

func holds(list string, message []byte, keys []Checker) bool {
	signatures := strings.Fields(list)
	if len(signatures) > maxSignatures {
		return false
	}
	ok := false
	for _, s := range signatures {
		scheme, text, _ := strings.Cut(s, ",")
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for _, key := range keys {
			if key.scheme == Scheme(scheme) && key.check != nil && key.check(message, raw) {
				ok = true
			}
		}
	}
	return ok
}

// signed are the bytes that are signed. An id has no dot, so they can be taken apart in one way only.
func signed(id, stamp string, body []byte) []byte {
	out := make([]byte, 0, len(id)+len(stamp)+len(body)+2)
	out = append(out, id...)
	out = append(out, '.')
	out = append(out, stamp...)
	out = append(out, '.')
	return append(out, body...)
}

// only returns a header that is there exactly once.
func only(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", fmt.Errorf("%s is there %d times: %w", name, len(values), ErrHeader)
	}
	return values[0], nil
}

func isID(id string) bool {
	return len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '.' })
}

// seconds reads a timestamp in its one form: decimal digits without a sign or leading zeros.
func seconds(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != text || n < 0 || n > 1<<38 {
		return time.Time{}, fmt.Errorf("%s: %w", HeaderTimestamp, ErrHeader)
	}
	return time.Unix(n, 0).UTC(), nil
}

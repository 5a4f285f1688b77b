package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"pinreset/shared/work"
)

// Lives of what a browser holds.
const (
	SessionIdle  = 15 * time.Minute // a session ends when it was not used for so long
	SessionLife  = 8 * time.Hour    // and at the latest after this
	CodeLife     = 10 * time.Minute // of a code for one sign-in
	sessionTouch = time.Minute      // how exactly the last use is known
	maxCodes     = 100
)

const (
	// SessionPartition is where sessions are. Everything in it is short-lived, and its field "expiresAt" says until when.
	SessionPartition = "sessions"
	// SessionPrefix is the row prefix of sessions.
	SessionPrefix = "session|"
)

// ErrCode: the one-time code is wrong, was used, or has expired.
var ErrCode = errors.New("one-time code is not valid")

// Holder is who a session was opened for: the holder of a token, or a person who signed in. It holds no rights of its own; what the
// holder may do is found out anew at each request.
type Holder struct {
	Token  string  `json:"token,omitempty"` // its id
	Person *Person `json:"person,omitempty"`
}

// Sessions are browsers that are signed in. They are in the store, as hashes, so that every process that shares it knows them and a
// restart ends none; housekeeping deletes those that have ended. It is safe for concurrent use.
//
// One-time codes are in the memory of the process that prints them.
type Sessions struct {
	store work.Store
	now   func() time.Time

	mu    sync.Mutex
	codes map[[32]byte]oneTime
}

type session struct {
	Holder
	OpenedAt  time.Time `json:"openedAt"`
	UsedAt    time.Time `json:"usedAt"`
	ExpiresAt time.Time `json:"expiresAt"` // at the latest
}

type oneTime struct {
	token   string
	expires time.Time
}

// NewSessions returns the sessions of the store.
func NewSessions(store work.Store, now func() time.Time) *Sessions {
	return &Sessions{store: store, now: now, codes: map[[32]byte]oneTime{}}
}

// Start opens a session and returns what the browser is to keep. It is new each time, so that nothing that a browser had before, or was
// made to have, opens it.
func (s *Sessions) Start(ctx context.Context, holder Holder) (text string, err error) {
	text, hash := opaque()
	u := s.unit()
	now := u.Now()
	if err := u.Create(sessionRow(hash), session{Holder: holder, OpenedAt: now, UsedAt: now, ExpiresAt: now.Add(SessionLife)}); err != nil {
		return "", err
	}
	if err := u.Commit(ctx); err != nil {
		return "", fmt.Errorf("open session: %w", err)
	}
	return text, nil
}

// Holder returns who an open session is for, or ErrUnauthenticated. use says whether a person is at it: a page that loads itself again
// keeps no session open.
func (s *Sessions) Holder(ctx context.Context, text string, use bool) (Holder, error) {
	row := sessionRow(sha256.Sum256([]byte(text)))
	u := s.unit()
	var o session
	err := u.Get(ctx, row, &o)
	if errors.Is(err, work.ErrNotFound) || err == nil && o.ended(u.Now()) {
		return Holder{}, fmt.Errorf("no open session: %w", ErrUnauthenticated)
	}
	if err != nil {
		return Holder{}, fmt.Errorf("read session: %w", err)
	}
	if use && u.Now().Sub(o.UsedAt) >= sessionTouch {
		o.UsedAt = u.Now()
		// On the condition that it is as it was read: a session that was closed meanwhile stays closed. One whose use could not be
		// noted is good all the same, and ends a little sooner.
		if err := u.Put(row, o); err == nil {
			_ = u.Commit(ctx)
		}
	}
	return o.Holder, nil
}

// End closes the session, for every process.
func (s *Sessions) End(ctx context.Context, text string) error {
	row := sessionRow(sha256.Sum256([]byte(text)))
	b := work.Batch{Partition: SessionPartition, Writes: []work.Write{{Row: row, Delete: true}}}
	if err := s.store.Commit(ctx, b); err != nil && !errors.Is(err, work.ErrNotFound) {
		return fmt.Errorf("close session: %w", err)
	}
	return nil
}

// EndAll closes every session. After a restore from a backup nobody knows which of them were closed since.
func (s *Sessions) EndAll(ctx context.Context) (ended int, err error) {
	for {
		p, err := s.store.List(ctx, work.Query{Partition: SessionPartition, Prefix: SessionPrefix, Limit: work.MaxOperations})
		if err != nil || len(p.Rows) == 0 {
			return ended, err
		}
		b := work.Batch{Partition: SessionPartition}
		for _, row := range p.Rows {
			b.Writes = append(b.Writes, work.Write{Row: row.Row, Delete: true})
		}
		if err := s.store.Commit(ctx, b); err != nil {
			return ended, fmt.Errorf("close sessions: %w", err)
		}
		ended += len(b.Writes)
	}
}

// OneTimeCode returns a code that opens one session for the holder of the token with the id, within [CodeLife].
func (s *Sessions) OneTimeCode(token string) string {
	text, hash := opaque()
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.codes, func(_ [32]byte, c oneTime) bool { return !now.Before(c.expires) })
	for len(s.codes) >= maxCodes {
		for oldest := range s.codes { // any one: so many unused codes are nobody's plan
			delete(s.codes, oldest)
			break
		}
	}
	s.codes[hash] = oneTime{token: token, expires: now.Add(CodeLife)}
	return text
}

// Redeem uses the code up and opens its session, or returns ErrCode.
func (s *Sessions) Redeem(ctx context.Context, code string) (text string, err error) {
	hash := sha256.Sum256([]byte(code))
	s.mu.Lock()
	c, ok := s.codes[hash]
	delete(s.codes, hash)
	s.mu.Unlock()
	if !ok || !s.now().Before(c.expires) {
		return "", ErrCode
	}
	return s.Start(ctx, Holder{Token: c.token})
}

func (s *Sessions) unit() *work.Unit {
	return work.NewUnit(s.store, SessionPartition, s.now(), func() string { panic("identity: a session has no id but its hash") })
}

func (o session) ended(now time.Time) bool {
	return now.Sub(o.UsedAt) >= SessionIdle || !now.Before(o.ExpiresAt)
}

func sessionRow(hash [32]byte) string { return SessionPrefix + hex.EncodeToString(hash[:]) }

// opaque makes 256 random bits and the hash that they are kept under.
func opaque() (text string, hash [32]byte) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random)
	text = base64.RawURLEncoding.EncodeToString(random)
	return text, sha256.Sum256([]byte(text))
}

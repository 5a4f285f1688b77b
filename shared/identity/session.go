package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"sync"
	"time"
)

// Lives of what a browser holds.
const (
	SessionIdle = 30 * time.Minute // a session ends when it was not used for so long
	SessionLife = 8 * time.Hour    // and at the latest after this
	CodeLife    = 10 * time.Minute // of a code for one sign-in
	maxSessions = 10_000           // the one unused longest makes room
	maxCodes    = 100
)

// ErrCode: the one-time code is wrong, was used, or has expired.
var ErrCode = errors.New("one-time code is not valid")

// Sessions are browsers that are signed in. They are in the memory of one process, as hashes: a restart ends them all.
// A session holds no rights of its own; it names the token that it was opened with. It is safe for concurrent use.
type Sessions struct {
	now func() time.Time

	mu    sync.Mutex
	open  map[[32]byte]session
	codes map[[32]byte]oneTime
}

type session struct {
	token           string
	opened, lastUse time.Time
}

type oneTime struct {
	token   string
	expires time.Time
}

// NewSessions returns sessions, none of them open.
func NewSessions(now func() time.Time) *Sessions {
	return &Sessions{now: now, open: map[[32]byte]session{}, codes: map[[32]byte]oneTime{}}
}

// Start opens a session for the holder of the token with the id, and returns what the browser is to keep.
func (s *Sessions) Start(token string) string {
	text, hash := opaque()
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.open, func(_ [32]byte, o session) bool { return o.ended(now) })
	for len(s.open) >= maxSessions {
		s.dropOldest()
	}
	s.open[hash] = session{token: token, opened: now, lastUse: now}
	return text
}

// Token returns the id of the token that an open session was started with. use says whether a person is at it: a page that
// loads itself again keeps no session open.
func (s *Sessions) Token(text string, use bool) (id string, ok bool) {
	hash := sha256.Sum256([]byte(text))
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.open[hash]
	if !ok || o.ended(now) {
		delete(s.open, hash)
		return "", false
	}
	if use {
		o.lastUse = now
		s.open[hash] = o
	}
	return o.token, true
}

// End closes the session.
func (s *Sessions) End(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(text)))
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
func (s *Sessions) Redeem(code string) (text string, err error) {
	hash := sha256.Sum256([]byte(code))
	s.mu.Lock()
	c, ok := s.codes[hash]
	delete(s.codes, hash)
	s.mu.Unlock()
	if !ok || !s.now().Before(c.expires) {
		return "", ErrCode
	}
	return s.Start(c.token), nil
}

func (o session) ended(now time.Time) bool {
	return now.Sub(o.lastUse) >= SessionIdle || now.Sub(o.opened) >= SessionLife
}

// dropOldest makes room; the caller holds the lock.
func (s *Sessions) dropOldest() {
	var oldest [32]byte
	var at time.Time
	for hash, o := range s.open {
		if at.IsZero() || o.lastUse.Before(at) {
			oldest, at = hash, o.lastUse
		}
	}
	delete(s.open, oldest)
}

// opaque makes 256 random bits and the hash that they are kept under.
func opaque() (text string, hash [32]byte) {
	random := make([]byte, secretBytes)
	_, _ = rand.Read(random)
	text = base64.RawURLEncoding.EncodeToString(random)
	return text, sha256.Sum256([]byte(text))
}

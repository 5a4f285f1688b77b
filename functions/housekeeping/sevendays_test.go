package housekeeping_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"pinreset/events"
	"pinreset/functions/passcodereset"
	"pinreset/shared/audit"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// seenKeys wraps data keys and remembers them, to look for them afterwards.
type seenKeys struct {
	kek
	mu            sync.Mutex
	keys, wrapped [][]byte
}

func (s *seenKeys) Wrap(ctx context.Context, key, bound []byte) ([]byte, error) {
	wrapped, err := s.kek.Wrap(ctx, key, bound)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.wrapped = append(s.keys, bytes.Clone(key)), append(s.wrapped, wrapped)
	return wrapped, err
}

// needles finds many byte strings in one pass, in the forms in which a value may stand in a file: as it is, base64 (both
// alphabets, at each of the three places that it can have in a longer text), hex in both cases, UTF-16 in both orders.
type needles struct {
	heads map[uint64][]needle // by their first eight bytes
}

type needle struct {
	text []byte
	form string
	of   string // what kind of value it is
}

var forms = map[string]func([]byte) [][]byte{
	"plain": func(v []byte) [][]byte { return [][]byte{v} },
	"hex": func(v []byte) [][]byte {
		h := hex.EncodeToString(v)
		return [][]byte{[]byte(h), []byte(strings.ToUpper(h))}
	},
	"base64": inBase64,
	"utf-16": func(v []byte) [][]byte {
		var little, big []byte
		for _, u := range utf16.Encode([]rune(string(v))) {
			little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
		}
		return [][]byte{little, big}
	},
}

func inBase64(v []byte) (all [][]byte) {
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := alphabet.EncodeToString(append(make([]byte, before), v...))
			// The characters at both ends also depend on the neighbours.
			all = append(all, []byte(text[(before*8+5)/6:(before+len(v))*8/6]))
		}
	}
	return all
}

func (n *needles) add(of string, values ...[]byte) {
	if n.heads == nil {
		n.heads = map[uint64][]needle{}
	}
	for _, v := range values {
		for form, spell := range forms {
			for _, text := range spell(v) {
				head := binary.LittleEndian.Uint64(text)
				n.heads[head] = append(n.heads[head], needle{text, form, of})
			}
		}
	}
}

// search counts what is found in the files below dir, by kind and form, each value once a file.
func (n *needles) search(t *testing.T, dir string) (found map[string]int, size int) {
	t.Helper()
	found = map[string]int{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		size += len(data)
		seen := map[string]bool{}
		for i := 0; i+8 <= len(data); i++ {
			for _, one := range n.heads[binary.LittleEndian.Uint64(data[i:])] {
				if !seen[string(one.text)] && bytes.HasPrefix(data[i:], one.text) {
					seen[string(one.text)] = true
					found[one.of+" "+one.form]++
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, size
}

// TestSevenDays: codes can be seen one second before their expiry, all of them, and none of them from then on; after
// housekeeping neither the codes nor their keys, as they are or wrapped, stand in any file. Every other code has lost the
// reminder of its expiry.
func TestSevenDays(t *testing.T) {
	t.Parallel()
	const count = 1000
	root := filepath.Dir(t.TempDir()) // every directory of this test is below
	b := dispatchtest.New(t, false)
	f := &fixture{Bench: b}
	local, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	seen := &seenKeys{kek: local}
	f.openVault(seen)
	f.Serve(f.handler.Route(), (&passcodereset.Handler{Vault: f.vault, Store: b.Store(), Schedule: passcodereset.DefaultSchedule}).Route())
	f.add(contoso)

	// Side by side, so that many share a commit; with ids that many may take.
	codes, resets := make([][]byte, count), make([]passcode.Reset, count)
	var serial atomic.Int64
	unit := func() *work.Unit {
		return work.NewUnit(f.Store(), contoso, f.Clock.Now(), func() string { return fmt.Sprintf("02%024d", serial.Add(1)) })
	}
	each := func(do func(i int) error) {
		t.Helper()
		var all sync.WaitGroup
		results := make([]error, 50)
		for w := range results {
			all.Go(func() {
				for i := w; i < count && results[w] == nil; i += len(results) {
					results[w] = do(i)
				}
			})
		}
		all.Wait()
		f.must(results...)
	}
	receipts := make([]audit.Receipt, count)
	each(func(i int) (err error) {
		random := make([]byte, 12)
		_, _ = rand.Read(random)
		code := hex.EncodeToString(random)
		codes[i] = []byte(code)
		u := unit()
		if resets[i], err = f.seal(u, code, fmt.Sprintf("3b7c2a90-5e14-4f6b-8d21-%012x", i)); err != nil {
			return err
		}
		if r := resets[i]; i%2 == 0 {
			if _, err := u.Send(t.Context(), passcode.Queue.Bulk(), r.ExpiresAt, events.PasscodeExpiryDue{RequestID: r.ID, DeviceID: r.DeviceID}); err != nil {
				return err
			}
		}
		receipts[i], err = audit.Commit(t.Context(), u, audit.Entry{Action: audit.PasscodeRevealed, RequestID: resets[i].ID}, resets[i].Code.ID)
		return err
	})
	var look needles
	look.add("code", codes...)
	look.add("key", seen.keys...)
	look.add("wrapped key", seen.wrapped...)
	if found, size := look.search(t, root); found["wrapped key base64"] < count || found["code plain"]+found["key plain"]+found["key base64"] > 0 {
		t.Fatalf("before the expiry %d bytes have %v, want every wrapped key and nothing in the clear", size, found)
	}

	opened := func() int {
		var n atomic.Int64
		each(func(i int) error {
			r := resets[i]
			code, err := f.vault.Open(t.Context(), *r.Code, secret.Binding{Tenant: contoso, Device: r.DeviceID, Request: r.ID}, receipts[i])
			if err == nil && code.Expose() == string(codes[i]) {
				n.Add(1)
			} else if !errors.Is(err, secret.ErrGone) {
				return fmt.Errorf("open %s: %w", r.ID, err)
			}
			return nil
		})
		return int(n.Load())
	}
	expiry := resets[0].ExpiresAt
	f.Clock.Advance(expiry.Sub(f.Clock.Now()) - time.Second)
	f.tick()
	f.Drain(f.Clock.Now())
	if n := opened(); n != count {
		t.Fatalf("%d of %d codes can be seen a second before the expiry", n, count)
	}
	f.Clock.Advance(time.Second)
	if n := opened(); n != 0 {
		t.Fatalf("%d codes can be seen at the expiry", n)
	}
	f.pass(30 * time.Minute)

	expired := 0
	for _, r := range resets {
		if got := f.reset(r.ID); got.State == passcode.Expired && got.Code == nil {
			expired++
		}
	}
	if keys := rows(t, f.keys, contoso, ""); expired != count || keys != 0 {
		t.Errorf("%d of %d resets have expired, %d keys are left", expired, count, keys)
	}
	found, size := look.search(t, root)
	if len(found) > 0 {
		t.Errorf("after housekeeping %d bytes of files have %v", size, found)
	}
	// Old copies of the envelopes open nothing, with the clock set back neither.
	f.Clock.Advance(-day)
	if n := opened(); n != 0 {
		t.Errorf("%d old copies open", n)
	}

	// What was planted must be found, in each form, else the search proves nothing.
	planted := bytes.Repeat([]byte{0xfe}, 4096)
	for i, v := range [][]byte{codes[0], seen.keys[1], seen.wrapped[2]} {
		planted = append(planted, v...)
		planted = append(planted, " "+hex.EncodeToString(v)+" "+base64.URLEncoding.EncodeToString([]byte(strings.Repeat("x", i)+string(v)+"y"))+" "...)
		for _, u := range utf16.Encode([]rune(string(v))) {
			planted = binary.LittleEndian.AppendUint16(planted, u)
		}
	}
	f.must(os.WriteFile(filepath.Join(root, "planted"), planted, 0o600))
	control, _ := look.search(t, root)
	for _, of := range []string{"code", "key", "wrapped key"} {
		for form := range forms {
			if control[of+" "+form] == 0 {
				t.Errorf("the search did not find the %s planted as %s", of, form)
			}
		}
	}
	t.Logf("%d codes: seen %d at 7 days less a second, 0 at 7 days; %d bytes of files have %d traces; planted and found: %v", count, count, size, len(found), control)
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/passcode"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// TestPowerCut records every write and fsync of a loaded server with strace, and takes each answer of 202 in turn for the
// moment of a power cut: of each file there is what an fsync had returned for by then, and of what was written since nothing,
// or any part, in sectors of 512 bytes. The store must open on that and have every reset that had been accepted.
//
// It is a model of a disk that keeps what fsync returned for; that new directory entries last is taken for granted.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	r, tenantID, token := powerCutServer(t)
	base := filepath.Join(t.TempDir(), "base")
	trace := filepath.Join(t.TempDir(), "trace")
	detach := straced(t, r, "-o", trace, "-y", "-xx", "-s", "1000000", "-e", "trace=pwrite64,write,ftruncate,fsync,fdatasync")
	work := filepath.Join(r.data, "work")
	if err := os.CopyFS(base, os.DirFS(work)); err != nil {
		t.Fatal(err)
	}
	const accepted = 96
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for n := range accepted / 8 {
				if status, err := postReset(t.Context(), r.url, tenantID, token, worker*1000+n); status != http.StatusAccepted {
					t.Errorf("reset: status %d, %v", status, err)
					return
				}
			}
		})
	}
	group.Wait()
	detach()

	disk := diskOf(t, base, work)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	var promised []string
	cuts, dropped, syncs := 0, 0, 0
	for _, call := range readTrace(t, trace) {
		if id := disk.follow(t, call); id != "" {
			promised = append(promised, id)
			keeps := []float64{0}
			if len(promised)%4 == 0 {
				keeps = append(keeps, random.Float64())
			}
			for _, keep := range keeps {
				dropped += powerCut(t, disk, random, keep, tenantID, promised)
				cuts++
			}
		}
		if call.name == "fsync" || call.name == "fdatasync" {
			syncs++
		}
	}
	fmt.Printf("powercuts=%d accepted=%d lost=0 unsynced_writes_dropped=%d fsyncs=%d seed=%d\n", cuts, len(promised), dropped, syncs, seed)
	if len(promised) != accepted || syncs == 0 || dropped == 0 {
		t.Errorf("%d answers of 202 in the trace, want %d; %d writes were dropped, %d fsyncs seen", len(promised), accepted, dropped, syncs)
	}
}

// TestFailedFsyncIsNotAccepted lets every fsync fail: then nothing may be promised.
func TestFailedFsyncIsNotAccepted(t *testing.T) {
	t.Parallel()
	r, tenantID, token := powerCutServer(t)
	if status, err := postReset(t.Context(), r.url, tenantID, token, 1); status != http.StatusAccepted {
		t.Fatalf("reset: status %d, %v", status, err)
	}
	detach := straced(t, r, "-o", os.DevNull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	for n := range 20 {
		if status, err := postReset(t.Context(), r.url, tenantID, token, 100+n); status < http.StatusInternalServerError {
			t.Errorf("reset while no fsync succeeds: status %d, %v", status, err)
		}
	}
	detach()
}

func powerCutServer(t *testing.T) (r *running, tenantID, token string) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace; install it with: apt-get install strace")
	}
	r = startBinary(t, t.TempDir(), "--sim-data", t.TempDir())
	waitProven(t, r.client())
	text, err := os.ReadFile(filepath.Join(r.data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	for x, err := range r.client().Tenants(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		tenantID = x.ID
	}
	return r, tenantID, strings.TrimSpace(string(text))
}

// straced follows the running server, from its return until detach is called.
func straced(t *testing.T, r *running, args ...string) (detach func()) {
	t.Helper()
	cmd := exec.Command("strace", append([]string{"-f", "-p", strconv.Itoa(r.cmd.Process.Pid)}, args...)...)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	detach = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	t.Cleanup(detach)
	lines := bufio.NewScanner(said)
	var all strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		if strings.Contains(lines.Text(), "attached") {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return detach
		}
	}
	if strings.Contains(all.String(), "Operation not permitted") {
		t.Skip("strace may not follow another process here")
	}
	t.Fatalf("strace: %s", &all)
	return nil
}

// postReset asks for the reset of a device that no other call asks for.
func postReset(ctx context.Context, server, tenantID, token string, n int) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	url := fmt.Sprintf("%s/v1/tenants/%s/devices/aaaaaaaa-0000-4000-8000-%012d/resets", server, tenantID, n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"reason":"before the power cut"}`))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", strconv.Itoa(n))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// systemCall is one of a trace: when it began, or when it returned.
type systemCall struct {
	name     string
	path     string
	data     []byte
	size     int64 // of ftruncate
	offset   int64
	returned bool
	begun    int // of a return: the place of its beginning
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*)>(?:, (?:"([^"]*)"(\.\.\.)?, (\d+)(?:, (\d+))?|(\d+)))?\)? *(?:= (-?\d+)|(<unfinished \.\.\.>|<detached \.\.\.>|= \?))`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>.*= (-?\d+)`)
)

// readTrace reads what strace wrote: calls in the order of their beginnings and returns.
func readTrace(t *testing.T, file string) (calls []systemCall) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pending := map[string]int{} // thread → its call that has not returned
	for line := range strings.Lines(string(text)) {
		if m := resumedLine.FindStringSubmatch(line); m != nil {
			if begun, ok := pending[m[1]]; ok {
				call := calls[begun]
				call.returned, call.begun = m[3] != "-1", begun
				calls = append(calls, call)
				delete(pending, m[1])
			}
			continue
		}
		m := callLine.FindStringSubmatch(line)
		if m == nil {
			if strings.Contains(line, "sync(") || strings.Contains(line, "write(") || strings.Contains(line, "pwrite64(") || strings.Contains(line, "truncate(") {
				t.Fatalf("line of strace is not understood: %.100s … %s", line, line[max(0, len(line)-100):])
			}
			continue
		}
		if m[5] != "" {
			t.Fatalf("strace cut a write short: %.200s", line)
		}
		call := systemCall{name: m[2], path: string(unhex(t, m[3])), data: unhex(t, m[4]), begun: len(calls)}
		call.offset, _ = strconv.ParseInt(m[7], 10, 64)
		call.size, _ = strconv.ParseInt(m[8], 10, 64)
		calls = append(calls, call)
		if m[10] != "" { // it goes on, or the trace ended before it returned
			pending[m[1]] = len(calls) - 1
		} else if m[9] != "-1" {
			call.returned = true
			calls = append(calls, call)
		}
	}
	return calls
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		t.Fatalf("decode %.60q: %v", text, err)
	}
	return data
}

// disk is the files of a directory as a power cut would leave them.
type disk struct {
	dir   string
	files map[string]*diskFile
	place int
}

type diskFile struct {
	synced  []byte
	pending []change // since, in order
}

type change struct {
	call systemCall
	at   int // its place in the trace
}

func diskOf(t *testing.T, base, dir string) *disk {
	t.Helper()
	d := &disk{dir: dir, files: map[string]*diskFile{}}
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-shm") || strings.HasSuffix(e.Name(), ".lock") {
			continue // shared memory, made anew
		}
		data, err := os.ReadFile(filepath.Join(base, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		d.files[e.Name()] = &diskFile{synced: data}
	}
	return d
}

var (
	acceptedAnswer = []byte("HTTP/1.1 202 Accepted")
	resetID        = regexp.MustCompile(`"id":"([0-9A-Z]{26})"`)
)

// follow takes one call into account. Where it is the beginning of an answer of 202, it returns the id of the reset in it.
func (d *disk) follow(t *testing.T, call systemCall) (promised string) {
	t.Helper()
	d.place++
	if !call.returned && bytes.HasPrefix(call.data, acceptedAnswer) {
		m := resetID.FindSubmatch(call.data)
		if m == nil {
			t.Fatalf("no id in %s", call.data)
		}
		return string(m[1])
	}
	name, inside := strings.CutPrefix(call.path, d.dir+"/")
	if !inside || strings.HasSuffix(name, "-shm") || strings.HasSuffix(name, ".lock") {
		return ""
	}
	f := d.files[name]
	if f == nil {
		f = &diskFile{}
		d.files[name] = f
	}
	switch call.name {
	case "fsync", "fdatasync":
		if !call.returned {
			return ""
		}
		// What had been written before the fsync began lasts. A write beside it may or may not be in.
		n := 0
		for n < len(f.pending) && f.pending[n].at <= call.begun {
			f.synced = f.pending[n].call.apply(f.synced, nil)
			n++
		}
		f.pending = f.pending[n:]
	case "pwrite64", "ftruncate":
		if call.returned {
			f.pending = append(f.pending, change{call, d.place})
		}
	default:
		t.Fatalf("%s of %s: the store writes otherwise than this test knows", call.name, call.path)
	}
	return ""
}

const sector = 512

// apply does the call to the file's data; torn chooses the sectors of it that reach the disk, nil for all.
func (c systemCall) apply(data []byte, torn func() bool) []byte {
	grow := func(size int64) {
		if int64(len(data)) < size {
			data = append(data, make([]byte, size-int64(len(data)))...)
		}
	}
	if c.name == "ftruncate" {
		if torn != nil && !torn() {
			return data
		}
		grow(c.size)
		return data[:c.size]
	}
	for at := 0; at < len(c.data); {
		end := min(len(c.data), at+sector-int(c.offset+int64(at))%sector)
		if torn == nil || torn() {
			grow(c.offset + int64(end))
			copy(data[c.offset+int64(at):], c.data[at:end])
		}
		at = end
	}
	return data
}

// powerCut opens the store on what the disk has, with the share keep of the sectors that no fsync had returned for, and looks
// for every promised reset. It returns how many writes since the last fsync there were.
func powerCut(t *testing.T, d *disk, random *rand.Rand, keep float64, tenantID string, promised []string) (unsynced int) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, f := range d.files {
		data := bytes.Clone(f.synced)
		for _, p := range f.pending {
			data = p.call.apply(data, func() bool { return random.Float64() < keep })
		}
		unsynced += len(f.pending)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		t.Fatalf("after a power cut at the %d. answer, %.0f %% of unsynced sectors kept: %v", len(promised), 100*keep, err)
	}
	defer store.Close()
	for _, id := range promised {
		row, err := store.Get(t.Context(), work.Key{Partition: tenantID, Row: passcode.ResetRow(id)})
		var r passcode.Reset
		if err := errors.Join(err, json.Unmarshal(row.Value, &r)); err != nil || r.ID != id {
			t.Fatalf("after a power cut at the %d. answer, %.0f %% of unsynced sectors kept, reset %s, which was accepted, is lost: %v", len(promised), 100*keep, id, err)
		}
	}
	return unsynced
}

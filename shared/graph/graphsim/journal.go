package graphsim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A journal keeps the latest value of each key in a file of JSON lines. One line
// is one atomic set of changes: a line that a crash cut short is ignored. Lines
// are written, not synced: they survive the death of the process, not of the
// machine.
type journal struct {
	mu   sync.Mutex
	path string
	file *os.File // nil: memory only
	size int64
	base int64 // size after the last compaction
	err  error // a failed write that could not be undone; nothing is written after it
}

// An entry is a key and its new value.
type entry struct {
	Key   string          `json:"k"`
	Value json.RawMessage `json:"v"`
}

// compactSlack is how much a journal may grow before it is rewritten.
const compactSlack = 8 << 20

// openJournal reads the journal in dir and returns its values. dir "" keeps
// nothing.
func openJournal(dir string) (*journal, map[string]json.RawMessage, error) {
	if dir == "" {
		return &journal{}, nil, nil
	}
	j := &journal{path: filepath.Join(dir, "state.jsonl")}
	values, err := readJournal(j.path)
	if err != nil {
		return nil, nil, fmt.Errorf("read state %s: %w", j.path, err)
	}
	if err := j.rewrite(values); err != nil {
		return nil, nil, fmt.Errorf("rewrite state %s: %w", j.path, err)
	}
	return j, values, nil
}

// readJournal returns the latest values. A missing file is empty.
func readJournal(path string) (map[string]json.RawMessage, error) {
	values := make(map[string]json.RawMessage)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return values, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return values, nil // what is left is a line that was never finished, and so never answered
		}
		if err != nil {
			return nil, err
		}
		var entries []entry
		if err := json.Unmarshal(line, &entries); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, e := range entries {
			values[e.Key] = e.Value
		}
	}
}

// rewrite replaces the file by one with only the given values and keeps it open
// for appending.
func (j *journal) rewrite(values map[string]json.RawMessage) error {
	temporary := j.path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	encoder := json.NewEncoder(out)
	for key, value := range values {
		if err := encoder.Encode([]entry{{key, value}}); err != nil {
			file.Close()
			return err
		}
	}
	err = errors.Join(out.Flush(), file.Sync())
	if err == nil {
		err = os.Rename(temporary, j.path)
	}
	if err != nil {
		file.Close()
		return err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		file.Close()
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.size, j.base = file, size, size
	return nil
}

// append writes one set of changes before it returns.
func (j *journal) append(entries []entry) error {
	if j.path == "" {
		return nil
	}
	line, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return j.err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		// Half a line in the middle would spoil every later one.
		if terr := j.file.Truncate(j.size); terr != nil {
			j.err = errors.Join(err, terr)
		} else if _, serr := j.file.Seek(j.size, io.SeekStart); serr != nil {
			j.err = errors.Join(err, serr)
		}
		return err
	}
	j.size += int64(len(line)) + 1
	if j.size > 2*j.base+compactSlack && j.compact() != nil {
		// The change is written all the same: try again after as much growth.
		j.base = j.size
	}
	return nil
}

func (j *journal) compact() error {
	values, err := readJournal(j.path)
	if err != nil {
		return err
	}
	return j.rewrite(values)
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.err = fs.ErrClosed
	return err
}

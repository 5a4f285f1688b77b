package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// riverModule is where the contender's own module is, from the top of the repository.
const riverModule = "infra/bench/river"

// river measures the same unit with River on PostgreSQL, in a cluster of its own that only a socket in its directory reaches.
func (b *bench) river(ctx context.Context) error {
	const figure = "River on PostgreSQL"
	bin := postgresBin()
	if bin == "" {
		b.table.add(row{figure: figure, value: "not measured", note: "PostgreSQL is not installed (Debian: apt-get install postgresql)"})
		return nil
	}
	got, err := measureRiver(ctx, filepath.Join(b.dir, "postgresql"), bin, b.scaled(20_000))
	if err != nil {
		// A contender that does not run here is no fault of the product's.
		b.table.add(row{figure: figure, value: "not measured", note: err.Error()})
		return nil
	}
	b.table.add(row{figure: figure, value: fmt.Sprintf("%.0f/s", got.Rate),
		note: fmt.Sprintf("River %s, PostgreSQL %s with its defaults, %d in flight", got.River, got.PostgreSQL, inFlight)})
	return nil
}

type riverResult struct {
	Rate       float64 `json:"unitsPerSecond"`
	River      string  `json:"river"`
	PostgreSQL string  `json:"postgresql"`
}

// postgresBin is the directory of initdb and postgres, "" where there is none. Debian keeps them out of the path.
func postgresBin() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir
		}
	}
	return ""
}

func measureRiver(ctx context.Context, dir, bin string, units int) (got riverResult, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return got, err
	}
	who, err := postgresUser(dir)
	if err != nil {
		return got, err
	}
	postgres := func(name string, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		c.Dir, c.SysProcAttr = dir, who
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + dir}
		return c
	}
	cluster := filepath.Join(dir, "cluster")
	if out, err := postgres("initdb", "-D", cluster, "-U", "bench", "-A", "trust", "-E", "UTF8").CombinedOutput(); err != nil {
		return got, fmt.Errorf("initdb: %w: %s", err, lastLine(out))
	}
	start := postgres("pg_ctl", "-D", cluster, "-w", "-l", filepath.Join(dir, "log"), "-o", "-c listen_addresses='' -c max_connections=120 -k "+dir, "start")
	if err := start.Run(); err != nil {
		return got, fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer func() {
		stop := postgres("pg_ctl", "-D", cluster, "-m", "fast", "-w", "stop")
		stop.Cancel = func() error { return nil } // also when the run was interrupted
		err = errors.Join(err, stop.Run())
	}()
	address := "postgres:///postgres?user=bench&host=" + url.QueryEscape(dir)
	c := exec.CommandContext(ctx, "go", "run", "-C", riverModule, ".", "-database", address, "-units", strconv.Itoa(units), "-inflight", strconv.Itoa(inFlight))
	var out, problems bytes.Buffer
	c.Stdout, c.Stderr = &out, &problems
	if err := c.Run(); err != nil {
		return got, fmt.Errorf("run River: %w: %s", err, lastLine(problems.Bytes()))
	}
	return got, json.Unmarshal(out.Bytes(), &got)
}

// postgresUser gives the directory to a user that PostgreSQL runs as: it refuses to run as root.
func postgresUser(dir string) (*syscall.SysProcAttr, error) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, errors.New("no user that PostgreSQL may run as")
}

func lastLine(text []byte) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(lines[len(lines)-1])
}

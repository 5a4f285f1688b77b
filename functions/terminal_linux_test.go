package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pseudoTerminal returns both ends of a new terminal: ours, and the program's.
func pseudoTerminal(t *testing.T) (ours, its *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatalf("unlock terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatalf("number of terminal: %v", err)
	}
	its, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("open terminal: %v", err)
	}
	return ours, its
}

// atTerminal runs the binary at a terminal. When the text prompt appears, the keys are typed.
func (f *fakeAPI) atTerminal(prompt, keys string, args ...string) (exit int, shown string) {
	f.t.Helper()
	ours, its := pseudoTerminal(f.t)
	// A terminal forgets what nobody has read yet when the leader of its session ends: so that leader is a shell, which says
	// when the program has ended and waits until that is read.
	const end = "\x00"
	const leader = `trap : INT; "$0" "$@"; exit=$?; printf '\000'; read -r _; exit $exit`
	c := exec.CommandContext(f.t.Context(), "/bin/sh", append([]string{"-c", leader, binary}, args...)...)
	c.Dir, c.Env = f.t.TempDir(), f.environment()
	c.Stdin, c.Stdout, c.Stderr = its, its, its
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		f.t.Fatalf("start: %v", err)
	}
	_ = its.Close()
	var all strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for typed := false; ; {
			n, err := ours.Read(buffer)
			all.Write(buffer[:n])
			if !typed && keys != "" && strings.Contains(all.String(), prompt) {
				typed = true
				if _, err := io.WriteString(ours, keys); err != nil {
					f.t.Errorf("type: %v", err)
				}
			}
			if err != nil {
				return
			}
			if strings.HasSuffix(all.String(), end) {
				if _, err := io.WriteString(ours, "\n"); err != nil {
					f.t.Errorf("let the shell end: %v", err)
				}
				return
			}
		}
	})
	_ = c.Wait() // its exit code is what counts
	reading.Wait()
	return c.ProcessState.ExitCode(), strings.ReplaceAll(strings.TrimSuffix(all.String(), end), "\r\n", "\n")
}

func TestAtATerminal(t *testing.T) {
	t.Parallel()
	const ctrlC = "\x03"
	for name, c := range map[string]struct {
		prompt, keys string
		args         []string
		exit         int
		shows        string
	}{
		"reveal":           {"", "", []string{"passcode", "show", "r1", "--reveal", "--reason", "x"}, exitDone, "passcode  " + canary + "\n"},
		"confirmed":        {"Type drop", "drop\n", []string{"deadletter", "drop", "l1", "--reason", "x"}, exitDone, "the message is dropped"},
		"declined":         {"Type drop", "n\n", []string{"deadletter", "drop", "l1", "--reason", "x"}, exitCancelled, "cancelled: "},
		"Ctrl-C at prompt": {"Type drop", ctrlC, []string{"deadletter", "drop", "l1", "--reason", "x"}, exitCancelled, "cancelled: "},
		"Ctrl-C at watch":  {"accepted", ctrlC, []string{"device", "reset", pixelID, "--reason", "x", "--yes", "--watch"}, exitCancelled, "cancelled: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			f.reset(resetObject("accepted", true, nil)) // a reset that never ends
			exit, shown := f.atTerminal(c.prompt, c.keys, c.args...)
			if exit != c.exit || !strings.Contains(shown, c.shows) {
				t.Errorf("exit %d, want %d with %q\n%s", exit, c.exit, c.shows, shown)
			}
		})
	}
}

package tablestest

import (
	"bufio"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pinreset/shared/nodetest"
)

var (
	//go:embed package.json
	manifest []byte
	//go:embed package-lock.json
	lock []byte
)

// azurite is a running Azurite that serves tables.
type azurite struct {
	command          *exec.Cmd
	leash            io.Closer // it ends when this is closed, and so when our process is gone
	ended            chan struct{}
	connectionString string
}

// startAzurite starts Azurite on a free port, and returns when it listens.
func startAzurite(ctx context.Context) (*azurite, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: Node.js is missing: %w", nodetest.ErrMissing, err)
	}
	dir, err := nodetest.Install(ctx, "azurite", manifest, lock)
	if err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		a, err := start(node, dir)
		if err == nil || tries == 3 { // somebody may take the port between our look and Azurite's
			return a, err
		}
	}
}

// untilInputEnds lets a Node.js program end with its standard input.
const untilInputEnds = "data:text/javascript,process.stdin.on('end',()=>process.exit(0)).resume()"

func start(node, dir string) (*azurite, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	const account = "pinresettest"
	secret := base64.StdEncoding.EncodeToString(key)

	//nolint:noctx // it lives until stop, longer than any call
	command := exec.Command(node, "--import", untilInputEnds, filepath.Join(dir, "node_modules", "azurite", "dist", "src", "table", "main.js"),
		"--tableHost", "127.0.0.1", "--tablePort", strconv.Itoa(port), "--silent", "--disableTelemetry", "--inMemoryPersistence")
	command.Dir = dir
	command.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+account+":"+secret, "NODE_OPTIONS=")
	var said tail
	command.Stderr = &said
	leash, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start Azurite: %w", err)
	}
	a := &azurite{
		command: command, leash: leash, ended: make(chan struct{}),
		connectionString: fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;TableEndpoint=http://127.0.0.1:%d/%[1]s;", account, secret, port),
	}
	listening := make(chan bool, 1)
	go func() {
		defer close(a.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "successfully started") {
				listening <- true
			}
		}
		_ = command.Wait() // it was told to end, or says why on its standard error
		close(listening)
	}()
	select {
	case ok := <-listening:
		if ok {
			return a, nil
		}
		return nil, fmt.Errorf("start Azurite: it ended: %s", said.String())
	case <-time.After(time.Minute):
		return nil, errors.Join(errors.New("start Azurite: it does not listen after a minute"), a.stop())
	}
}

// stop ends Azurite and waits for it.
func (a *azurite) stop() error {
	_ = a.leash.Close()
	select {
	case <-a.ended:
		return nil
	case <-time.After(5 * time.Second):
	}
	if err := a.command.Process.Kill(); err != nil {
		return fmt.Errorf("stop Azurite: %w", err)
	}
	<-a.ended
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// tail keeps the last write, for an error's text.
type tail struct{ last atomic.Pointer[string] }

func (t *tail) Write(p []byte) (int, error) {
	s := strings.TrimSpace(string(p))
	t.last.Store(&s)
	return len(p), nil
}

func (t *tail) String() string {
	if s := t.last.Load(); s != nil {
		return *s
	}
	return "it said nothing"
}

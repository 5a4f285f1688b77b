package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pinreset/infra/bundle"
)

// executable is the program's name in the package, which host.json names.
const executable = "pinreset"

// stage puts everything that belongs into the package below out, from the module whose root is given. What was in out is deleted.
func stage(ctx context.Context, root, out string) error {
	if _, err := os.Stat(filepath.Join(root, "host.json")); err != nil {
		return fmt.Errorf("this is not the module's root: %w", err)
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := place(filepath.Join(root, "host.json"), filepath.Join(out, "host.json")); err != nil {
		return err
	}
	files, err := functionFiles(root)
	if err != nil {
		return err
	}
	for name, file := range files {
		if err := place(file, filepath.Join(out, name, "function.json")); err != nil {
			return err
		}
	}
	return bundle.Build(ctx, root, filepath.Join(out, executable), "linux", "amd64") // Functions has no arm64
}

// functionFiles finds every function's file, by the name of the function.
func functionFiles(root string) (map[string]string, error) {
	beside, err := filepath.Glob(filepath.Join(root, "functions", "*", "function.json"))
	if err != nil {
		return nil, err
	}
	below, err := filepath.Glob(filepath.Join(root, "functions", "*", "*", "function.json"))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, file := range slices.Concat(beside, below) {
		folder, err := filepath.Rel(filepath.Join(root, "functions"), filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		name := strings.ReplaceAll(filepath.ToSlash(folder), "/", "-")
		if other, twice := files[name]; twice {
			return nil, fmt.Errorf("%s and %s are both of function %s", other, file, name)
		}
		files[name] = file
	}
	return files, nil
}

func place(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o644)
}

package aws

import (
	"os/exec"
	"testing"
)

// TestLint: cfn-lint, AWS's own linter, finds nothing where it is installed.
func TestLint(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "cfn-lint", "--version").Run(); err != nil {
		t.Skipf("cfn-lint is not installed, or does not answer (%v): pip install cfn-lint==1.51.0", err)
	}
	if said, err := exec.CommandContext(t.Context(), "cfn-lint", "template.yaml").CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, said)
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd rates how exposed our units are, from 0 (confined) to 100.
func TestUnitsAreConfined(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-analyze is missing: make systemd installs it")
		}
		t.Skip("systemd-analyze is missing")
	}
	for unit, most := range map[string]string{"cairn.service": "20"} {
		file := filepath.Join("..", "..", "deploy", unit)
		out, err := exec.Command(program, "security", "--offline=true", "--no-pager",
			"--threshold="+most, file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
		// verify also complains that the programs are not installed.
		out, _ = exec.Command(program, "verify", file).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, unit) && !strings.Contains(line, "is not executable") {
				t.Errorf("verify: %s", line)
			}
		}
	}
}

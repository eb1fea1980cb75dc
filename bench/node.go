package main

// npm's ws takes part where node is installed; its absence is reported and is no error.

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

var nodeProgram = filepath.Join("server", "node", "echo.js")

// installNode makes npm's ws ready to run.
func installNode() error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("node is not installed: %w", err)
	}
	cmd := exec.Command("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent")
	cmd.Dir = filepath.Dir(nodeProgram)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install in %s: %w\n%s", cmd.Dir, err, out)
	}
	return nil
}

package gorilla

// Modules of others that use gorilla/websocket: their own tests run on it and, with replace lines
// as the only change, on this package. Every test that passes there passes here. The versions are
// those of ../suites/go.mod.

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A moduleSuite is what runs of a module.
type moduleSuite struct {
	packages []string
	atLeast  int               // as many tests pass with gorilla, subtests included
	skip     map[string]string // tests by name, and why they do not run
}

const (
	slowTest  = "takes from 5 to 60 s on both"
	racyTest  = "does not wait for the other end, and fails on both at times"
	noLibrary = "takes seconds and uses no WebSocket"
)

var moduleSuites = map[string]moduleSuite{
	"client-go": {
		packages: []string{"k8s.io/client-go/transport/websocket", "k8s.io/client-go/tools/remotecommand", "k8s.io/client-go/tools/portforward"},
		atLeast:  40,
		skip:     map[string]string{"TestSPDYExecutorStream": noLibrary},
	},
	"go-ethereum": {
		packages: []string{"github.com/ethereum/go-ethereum/rpc"},
		atLeast:  250,
		skip:     map[string]string{"TestUnsubscribeTimeout": slowTest},
	},
	"slack": {
		packages: []string{"github.com/slack-go/slack", "github.com/slack-go/slack/socketmode"},
		atLeast:  1500,
		skip: map[string]string{
			"TestRTMConnectRateLimit":                               slowTest,
			"TestGetAllConversationsHandlesRateLimit":               noLibrary,
			"TestGetUsersHandlesRateLimit":                          noLibrary,
			"TestRetryOn429ThenSuccess":                             noLibrary,
			"TestOptionRetryConfigWithNilHandlersDefaultsTo429Only": noLibrary,
			"TestRetryGetRequestWithNilBody":                        noLibrary,
			"TestRetryExhausted429ReturnsError":                     noLibrary,
			"TestRetryExhausted429ResponseBodyReadable":             noLibrary,
		},
	},
	"gqlgen": {
		packages: []string{"github.com/99designs/gqlgen/graphql/handler/transport"},
		atLeast:  120,
	},
	"cometbft": {
		packages: []string{"github.com/cometbft/cometbft/rpc/jsonrpc", "github.com/cometbft/cometbft/rpc/jsonrpc/client", "github.com/cometbft/cometbft/rpc/jsonrpc/server"},
		atLeast:  35,
		skip: map[string]string{
			"TestWSClientPingPongV1":       slowTest,
			"TestWSClientReconnectFailure": slowTest,
		},
	},
	"mochi-mqtt": {
		packages: []string{"github.com/mochi-mqtt/server/v2/listeners"},
		atLeast:  60,
	},
	"go-libp2p": {
		packages: []string{"github.com/libp2p/go-libp2p/p2p/transport/websocket"},
		atLeast:  80,
	},
	"opamp-go": {
		packages: []string{"github.com/open-telemetry/opamp-go/client", "github.com/open-telemetry/opamp-go/client/internal", "github.com/open-telemetry/opamp-go/server"},
		atLeast:  250,
		skip: map[string]string{
			"TestServerNotResponse":        racyTest,
			"TestUpdatePackages":           slowTest,
			"TestSetAvailableComponents":   slowTest,
			"TestRemoteConfigUpdate":       slowTest,
			"TestRedirectHTTP":             noLibrary,
			"TestReportAgentDescription":   slowTest,
			"TestReportAgentHealth":        slowTest,
			"TestReportEffectiveConfig":    slowTest,
			"TestMissingCapabilities":      slowTest,
			"TestOfferUpdatedVersion":      slowTest,
			"TestReportCustomCapabilities": slowTest,
		},
	},
	"knative": {
		packages: []string{"knative.dev/pkg/websocket"},
		atLeast:  18,
	},
	"melody": {
		packages: []string{"github.com/olahol/melody"},
		atLeast:  10,
		skip: map[string]string{
			"TestBroadcast": racyTest,
			"TestClose":     racyTest,
			"TestLen":       racyTest,
			"TestSessions":  racyTest,
		},
	},
	"jsonrpc2": {
		packages: []string{"github.com/sourcegraph/jsonrpc2"},
		atLeast:  45,
	},
	"go-socket.io": {
		packages: []string{"github.com/googollee/go-socket.io/engineio", "github.com/googollee/go-socket.io/engineio/transport/websocket"},
		atLeast:  4,
		skip:     map[string]string{"TestEngineUpgrade": "takes a minute to end, and " + racyTest},
	},
}

func TestModulesOfOthers(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", "suites"))
	if err != nil {
		t.Fatal(err)
	}
	// Here -modfile puts this package in gorilla's place.
	goMod := filepath.Join(t.TempDir(), "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(filepath.Dir(goMod), name), b)
	}
	checkout := moduleDir(t, ourPath)
	standIn(t, filepath.Dir(goMod), checkout)
	if used := goTool(t, root, "list", "-modfile", goMod, "-m", "-f", "{{.Dir}}", gorillaPath); used != filepath.Join(checkout, "gorilla") {
		t.Fatalf("the modules would use %s", used)
	}
	if used := goTool(t, root, "list", "-m", "-f", "{{.Replace.Version}}", gorillaPath); used != "v1.5.3" {
		t.Fatalf("the modules would use gorilla/websocket %s", used)
	}

	var packages []string
	skip := make(map[string]string)
	for _, s := range moduleSuites {
		packages = append(packages, s.packages...)
		maps.Copy(skip, s.skip)
	}
	slices.Sort(packages)
	skipped := "^(" + strings.Join(slices.Sorted(maps.Keys(skip)), "|") + ")$"
	theirs := runModules(t, root, append([]string{"-skip", skipped}, packages...))
	ours := runModules(t, root, append([]string{"-modfile", goMod, "-skip", skipped}, packages...))

	for _, name := range slices.Sorted(maps.Keys(moduleSuites)) {
		t.Run(name, func(t *testing.T) {
			passed := 0
			for _, pkg := range moduleSuites[name].packages {
				broken := brokenTests(theirs, ours, pkg)
				if len(broken) > 0 {
					// Some tests depend on time: what fails on a busy machine gets a second try.
					again := runModules(t, root, []string{"-modfile", goMod, "-run", runPattern(broken), pkg})
					maps.Copy(ours.results, again.results)
					maps.Copy(ours.output, again.output)
				}
				for _, test := range brokenTests(theirs, ours, pkg) {
					t.Run(test.name, func(t *testing.T) {
						t.Errorf("%s passes with gorilla and not here (%s):\n%s", test, ours.results[test], ours.output[test])
					})
				}
				passed += theirs.passed(pkg)
			}
			if want := moduleSuites[name].atLeast; passed < want {
				t.Errorf("%d tests passed with gorilla, expected %d or more", passed, want)
			}
			t.Logf("%d tests pass with gorilla", passed)
		})
	}
}

// standIn makes the go.mod file in a directory use this package under both import paths.
func standIn(t *testing.T, dir, checkout string) {
	t.Helper()
	goTool(t, dir, "mod", "edit", "-require", ourPath+"@v0.0.0", "-replace", ourPath+"="+checkout,
		"-replace", gorillaPath+"="+filepath.Join(checkout, "gorilla"))
}

// A moduleTest is a test or a subtest of a package; without a name it is the package itself.
type moduleTest struct{ pkg, name string }

func (m moduleTest) String() string { return m.pkg + "." + m.name }

type moduleRun struct {
	results map[moduleTest]string // pass, fail or skip
	output  map[moduleTest]string
}

func (r *moduleRun) passed(pkg string) int {
	n := 0
	for test, result := range r.results {
		if test.pkg == pkg && test.name != "" && result == "pass" {
			n++
		}
	}
	return n
}

// brokenTests returns the tests of a package that pass with gorilla and not here.
func brokenTests(theirs, ours *moduleRun, pkg string) []moduleTest {
	var broken []moduleTest
	for test, result := range theirs.results {
		if test.pkg == pkg && test.name != "" && result == "pass" && ours.results[test] != "pass" {
			broken = append(broken, test)
		}
	}
	slices.SortFunc(broken, func(a, b moduleTest) int { return strings.Compare(a.name, b.name) })
	return broken
}

// runPattern returns the argument of -run for tests; a subtest runs with its whole test.
func runPattern(tests []moduleTest) string {
	names := make(map[string]bool)
	for _, test := range tests {
		name, _, _ := strings.Cut(test.name, "/")
		names[name] = true
	}
	return "^(" + strings.Join(slices.Sorted(maps.Keys(names)), "|") + ")$"
}

// runModules runs go test -json with the arguments. Tests may fail, but packages must build.
func runModules(t *testing.T, dir string, args []string) *moduleRun {
	t.Helper()
	cmd := exec.Command("go", append([]string{"test", "-json", "-vet=off", "-timeout", "90s", "-p", "6"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	run := &moduleRun{make(map[moduleTest]string), make(map[moduleTest]string)}
	var build strings.Builder
	for d := json.NewDecoder(stdout); ; {
		var event struct{ Action, Package, Test, Output string }
		if err := d.Decode(&event); err != nil {
			break
		}
		test := moduleTest{event.Package, event.Test}
		switch event.Action {
		case "pass", "fail", "skip":
			run.results[test] = event.Action
		case "output":
			run.output[test] += event.Output
		case "build-output":
			build.WriteString(event.Output)
		}
	}
	if err := cmd.Wait(); err != nil && (build.Len() > 0 || len(run.results) == 0) {
		t.Fatalf("go test: %v\n%s%s", err, build.String(), stderr.String())
	}
	for test := range run.results {
		if test.name == "" && run.results[test] == "fail" {
			t.Logf("some tests of %s fail", test.pkg)
		}
	}
	return run
}

// Counts the results in the index.json files that the testsuite writes, by behaviour and by closing
// behaviour, and names the cases that are not as they should be. It exits with 1 if there is one.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// An index is what an index.json holds: results by agent and by case number.
type index map[string]map[string]result

// A result is how one case came out. The suite says OK, INFORMATIONAL (nothing is right or wrong
// here), NON-STRICT, UNIMPLEMENTED, FAILED and, of closing, WRONG CODE, UNCLEAN and FAILED BY
// CLIENT.
type result struct {
	Behavior        string `json:"behavior"`
	BehaviorClose   string `json:"behaviorClose"`
	RemoteCloseCode *int   `json:"remoteCloseCode"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: report index.json...")
	}
	bad := 0
	for _, name := range os.Args[1:] {
		data, err := os.ReadFile(name)
		if err != nil {
			log.Fatal(err)
		}
		n, err := summarize(os.Stdout, data)
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		bad += n
	}
	if bad > 0 {
		log.Fatalf("%d cases are not as they should be", bad)
	}
}

// summarize writes a summary of an index.json and returns the number of bad cases.
func summarize(w io.Writer, data []byte) (bad int, err error) {
	var agents index
	if err := json.Unmarshal(data, &agents); err != nil {
		return 0, err
	}
	if len(agents) == 0 {
		return 0, errors.New("no agent was examined")
	}
	for _, agent := range slices.Sorted(maps.Keys(agents)) {
		cases := agents[agent]
		if len(cases) == 0 {
			return 0, fmt.Errorf("no case was run for %s", agent)
		}
		behavior, closing := map[string]int{}, map[string]int{}
		for _, v := range cases {
			behavior[v.Behavior]++
			closing[v.BehaviorClose]++
		}
		fmt.Fprintf(w, "%s: %d cases\n  behaviour: %s\n  closing:   %s\n", agent, len(cases), counts(behavior), counts(closing))
		for _, id := range slices.SortedFunc(maps.Keys(cases), compareIDs) {
			if v := cases[id]; !good(v.Behavior) || !good(v.BehaviorClose) {
				fmt.Fprintf(w, "  %s: %s\n", id, v)
				bad++
			}
		}
	}
	return bad, nil
}

// good reports whether a result is one that we want. What is not known is not wanted.
func good(result string) bool { return result == "OK" || result == "INFORMATIONAL" }

func (v result) String() string {
	s := v.Behavior + ", closing " + v.BehaviorClose
	if v.RemoteCloseCode != nil {
		s += " with " + strconv.Itoa(*v.RemoteCloseCode)
	}
	return s
}

// counts writes numbers by name, in order of the name.
func counts(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

// compareIDs orders case numbers: 2.9 before 2.10.
func compareIDs(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}

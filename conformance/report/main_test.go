package main

import (
	"strings"
	"testing"
)

// entry is a case as the suite writes it.
func entry(id, behavior, closing, code string) string {
	return `"` + id + `": {"behavior": "` + behavior + `", "behaviorClose": "` + closing + `", "duration": 2, "remoteCloseCode": ` +
		code + `, "reportfile": "server_case_` + strings.ReplaceAll(id, ".", "_") + `.json"}`
}

func agent(name string, entries ...string) string {
	return `"` + name + `": {` + strings.Join(entries, ", ") + `}`
}

func TestSummarize(t *testing.T) {
	tests := []struct {
		name, in, want string
		bad            int
	}{
		{"all is well",
			"{" + agent("server", entry("1.1.1", "OK", "OK", "1000"), entry("7.1.6", "INFORMATIONAL", "INFORMATIONAL", "null")) + "}",
			"server: 2 cases\n  behaviour: INFORMATIONAL 1, OK 1\n  closing:   INFORMATIONAL 1, OK 1\n", 0},
		{"bad cases in order of their numbers",
			"{" + agent("server", entry("2.10", "FAILED", "OK", "1002"), entry("2.9", "NON-STRICT", "OK", "null"),
				entry("12.1.1", "UNIMPLEMENTED", "OK", "1000"), entry("3.1", "OK", "WRONG CODE", "1000"),
				entry("10.1.1", "OK", "OK", "1000")) + "}",
			"server: 5 cases\n  behaviour: FAILED 1, NON-STRICT 1, OK 2, UNIMPLEMENTED 1\n  closing:   OK 4, WRONG CODE 1\n" +
				"  2.9: NON-STRICT, closing OK\n  2.10: FAILED, closing OK with 1002\n" +
				"  3.1: OK, closing WRONG CODE with 1000\n  12.1.1: UNIMPLEMENTED, closing OK with 1000\n", 4},
		{"every bad way of closing, and two that are not known",
			"{" + agent("a", entry("1", "OK", "UNCLEAN", "null"), entry("2", "OK", "FAILED BY CLIENT", "null"),
				entry("3", "OK", "FAILED", "null"), entry("4", "OK", "", "null"), entry("5", "ok", "OK", "null")) + "}",
			"a: 5 cases\n  behaviour: OK 4, ok 1\n  closing:    1, FAILED 1, FAILED BY CLIENT 1, OK 1, UNCLEAN 1\n" +
				"  1: OK, closing UNCLEAN\n  2: OK, closing FAILED BY CLIENT\n  3: OK, closing FAILED\n  4: OK, closing \n  5: ok, closing OK\n", 5},
		{"two agents",
			"{" + agent("b", entry("1", "FAILED", "OK", "null")) + "," + agent("a", entry("1", "OK", "OK", "null")) + "}",
			"a: 1 cases\n  behaviour: OK 1\n  closing:   OK 1\nb: 1 cases\n  behaviour: FAILED 1\n  closing:   OK 1\n  1: FAILED, closing OK\n", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			bad, err := summarize(&out, []byte(test.in))
			if bad != test.bad || err != nil || out.String() != test.want {
				t.Errorf("%d bad, %v\n%s\nwant %d bad\n%s", bad, err, out.String(), test.bad, test.want)
			}
		})
	}
}

func TestSummarizeRefuses(t *testing.T) {
	for _, in := range []string{"", "{}", `{"server": {}}`, `{"server": [1]}`, `{"server": {"1.1.1": {"behavior": 1}}}`} {
		var out strings.Builder
		if _, err := summarize(&out, []byte(in)); err == nil {
			t.Errorf("no error for %q", in)
		}
	}
}

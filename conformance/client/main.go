// The client that the testsuite's fuzzing server examines. It asks for the number of cases, takes
// part in each of them and has the reports written.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/conformance"
)

func main() {
	server := flag.String("url", "ws://127.0.0.1:9001", "the fuzzing server's `URL`")
	agent := flag.String("agent", "client", "the `name` under which the reports are written")
	wait := flag.Duration("wait", time.Minute, "how long the server may take to come up")
	flag.Parse()
	e := examiner{*server, *agent, conformance.NewDialer()}
	n, err := e.run(context.Background(), *wait)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("took part in %d cases\n", n)
}

// An examiner is a fuzzing server.
type examiner struct {
	url    string
	agent  string
	dialer *websocket.Dialer
}

// run returns the number of cases it took part in.
func (e examiner) run(ctx context.Context, wait time.Duration) (int, error) {
	n, err := e.count(ctx, wait)
	if err != nil {
		return 0, err
	}
	for i := range n {
		if err := conformance.Converse(ctx, e.dialer, e.at("/runCase", "case", strconv.Itoa(i+1))); err != nil {
			return i, fmt.Errorf("case %d of %d: %w", i+1, n, err)
		}
	}
	_, err = conformance.Ask(ctx, e.dialer, e.at("/updateReports"))
	return n, err
}

// count asks for the number of cases, until the server is up or wait is over.
func (e examiner) count(ctx context.Context, wait time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		p, err := conformance.Ask(ctx, e.dialer, e.at("/getCaseCount"))
		if err == nil {
			return strconv.Atoi(strings.TrimSpace(string(p)))
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("no number of cases from %s within %v: %w", e.url, wait, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// at returns the URL of a path with the agent and further parameters, which are pairs.
func (e examiner) at(path string, params ...string) string {
	query := url.Values{"agent": {e.agent}}
	for i := 0; i < len(params); i += 2 {
		query.Set(params[i], params[i+1])
	}
	return e.url + path + "?" + query.Encode()
}

package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tautws/websocket"
)

// What the page does: it reads the status, restarts all nodes, and kills one and starts it again.
func TestPage(t *testing.T) {
	broker := startBroker(t)
	addr, err := freeAddr("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r, w := io.Pipe()
	go func() {
		ended <- run(ctx, w, config{addr: addr, nats: broker.ClientURL(), nodes: 3, clients: 6, rate: 100})
		w.Close()
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for said := ""; !strings.Contains(said, "open http://"+addr+"/"); {
		p := make([]byte, 100)
		n, err := r.Read(p)
		if err != nil {
			t.Fatal("the program does not say where the page is: ", said)
		}
		said += string(p[:n])
	}
	go io.Copy(io.Discard, r)

	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(body), "cluster.js") {
		t.Errorf("the page is %.100q", body)
	}
	c, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until := func(condition func(s *status) bool) status {
		t.Helper()
		for {
			var s status
			if err := c.ReadJSON(&s); err != nil {
				t.Fatal(err)
			}
			if condition(&s) {
				return s
			}
		}
	}
	whole := func(s *status) bool { return s.Connected == 6 && s.Received > 0 }
	until(whole)
	c.WriteJSON(action{Do: "roll"})
	s := until(func(s *status) bool { return s.Note == "all nodes were restarted" && whole(s) })
	if s.Reconnects < 6 || s.Back == 0 {
		t.Errorf("after a rolling restart: %+v", s)
	}
	c.WriteJSON(action{Do: "kill", Node: 2})
	until(func(s *status) bool { return s.Nodes[1].State == down && whole(s) })
	c.WriteJSON(action{Do: "kill", Node: 1})
	until(func(s *status) bool { return s.Note == "a node is down: start it first" })
	c.WriteJSON(action{Do: "start", Node: 2})
	s = until(func(s *status) bool { return s.Nodes[1].State == up && whole(s) })
	if s.Lost != 0 || s.Repeated != 0 {
		t.Errorf("%d lost, %d repeated", s.Lost, s.Repeated)
	}
}

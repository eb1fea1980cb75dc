package main

// One measurement: the load runs for a while, with the server's CPU clock read before and after.
// Nothing is in flight at either reading.

import (
	"errors"
	"fmt"
	"time"

	"github.com/tautws/websocket/bench/load"
)

// sample is one measurement of one contender.
type sample struct {
	Operations int     `json:"operations,omitempty"` // messages, handshakes, openings or deliveries
	Seconds    float64 `json:"seconds,omitempty"`    // by the clock
	CPU        float64 `json:"cpu_ns,omitempty"`     // nanoseconds per operation, user and system
	Busy       float64 `json:"busy,omitempty"`       // share of the time the server was running
	ReplyBytes float64 `json:"reply_bytes,omitempty"`
	P50        float64 `json:"p50_ns,omitempty"` // of the time to the answer, delivery or end of the opening
	P99        float64 `json:"p99_ns,omitempty"`
	P999       float64 `json:"p999_ns,omitempty"`
	Resident   float64 `json:"resident_bytes,omitempty"` // per connection
	Heap       float64 `json:"heap_bytes,omitempty"`     // per connection
	Kernel     float64 `json:"kernel_bytes,omitempty"`   // per connection, both ends
}

// subject is a contender's server with the load of one scenario connected.
type subject struct {
	*process
	name       string
	latency    bool // that of the load means something
	run        func(time.Duration) (load.Result, error)
	disconnect func() // closes the connections
}

// subject starts the server of c for s and connects the load.
func (h host) subject(c contender, s scenario) (*subject, error) {
	p, err := h.start(c, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	sub := &subject{process: p, name: c.name, latency: s.latency(), disconnect: func() {}}
	if err := sub.connect(c, s); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), p.stop())
	}
	return sub, nil
}

func (sub *subject) connect(c contender, s scenario) error {
	switch s.kind {
	case handshakeLoad:
		sub.run = func(d time.Duration) (load.Result, error) {
			return load.Handshakes(sub.addr, s.conns, d)
		}
	case broadcastLoad:
		b, err := load.DialBroadcast(sub.addr, s.conns, s.many, s.size, c.name == floor)
		if err != nil {
			return err
		}
		sub.run = func(d time.Duration) (load.Result, error) { return b.Run(d, sub.broadcast) }
		sub.disconnect = b.Close
		if c.stalled {
			if err := b.Stall(sub.addr, s.conns/10); err != nil {
				b.Close()
				return err
			}
		}
	case openLoad:
		o, err := load.NewOpener(sub.addr, c.http2)
		if err != nil {
			return err
		}
		sub.run, sub.disconnect = o.Run, o.Close
	default:
		config := s.echo
		config.Verbatim = c.name == floor
		config.HTTP2 = c.http2
		e, err := load.DialEcho(sub.addr, config)
		if err != nil {
			return err
		}
		sub.run, sub.disconnect = e.Run, e.Close
	}
	return nil
}

// end closes the connections and stops the server.
func (sub *subject) end() error {
	sub.disconnect()
	if err := sub.stop(); err != nil {
		return fmt.Errorf("%s: %w", sub.name, err)
	}
	return nil
}

// measure runs the load for d, after a little that is not counted.
func (sub *subject) measure(d time.Duration) (s sample, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", sub.name, err)
		}
	}()
	if _, err := sub.run(d / 8); err != nil {
		return s, err
	}
	before, err := sub.cpu()
	if err != nil {
		return s, err
	}
	r, err := sub.run(d)
	if err != nil {
		return s, err
	}
	after, err := sub.cpu()
	if err != nil {
		return s, err
	}
	used := after - before
	s = sample{
		Operations: r.Messages,
		Seconds:    r.Elapsed.Seconds(),
		CPU:        float64(used) / float64(r.Messages),
		Busy:       float64(used) / float64(r.Elapsed),
		ReplyBytes: float64(r.Bytes) / float64(r.Messages),
	}
	if sub.latency {
		s.P50 = float64(r.Latency.Quantile(0.5))
		s.P99 = float64(r.Latency.Quantile(0.99))
		s.P999 = float64(r.Latency.Quantile(0.999))
	}
	return s, nil
}

// measureIdle compares c's memory before and after s.conns connections; a few earlier ones have
// loaded the code they run.
func (h host) measureIdle(c contender, s scenario) (result sample, err error) {
	p, err := h.start(c, s)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", c.name, err)
	}
	var conns load.Idle
	defer func() {
		conns.Close()
		if err = errors.Join(err, p.stop()); err != nil {
			err = fmt.Errorf("%s: %w", c.name, err)
		}
	}()
	config := load.EchoConfig{Conns: 16, TLS: s.tls, HTTP2: c.http2, Verbatim: c.name == floor}
	if err := conns.Grow(p.addr, config); err != nil {
		return sample{}, err
	}
	residentBefore, heapBefore, err := p.memory()
	if err != nil {
		return sample{}, err
	}
	config.Conns = s.conns
	if err := conns.Grow(p.addr, config); err != nil {
		return sample{}, err
	}
	resident, heap, err := p.memory()
	if err != nil {
		return sample{}, err
	}
	return sample{
		Resident: float64(resident-residentBefore) / float64(s.conns),
		Heap:     float64(heap-heapBefore) / float64(s.conns),
	}, nil
}

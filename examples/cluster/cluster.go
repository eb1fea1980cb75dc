package main

// The nodes of this process: started, killed and restarted one by one.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const startWait = time.Minute

type state string

const (
	down     state = "down"
	starting state = "starting"
	up       state = "up"
	draining state = "restarting"
)

// A place is where a node is or was.
type place struct {
	addr   string
	state  state
	node   *node // while up or draining
	broker *server.Server
}

type cluster struct {
	url     string     // of an external broker, or ""
	brokers *brokerSet // nil with an external one
	listen  func(addr string) (net.Listener, error)
	acting  sync.Mutex // one start or stop at a time

	mu     sync.Mutex
	places []place
}

// startCluster starts a node at each address. With url "" it starts a broker for each in this
// process, which keep their state in dir.
func startCluster(ctx context.Context, url, dir string, addrs []string, listen func(addr string) (net.Listener, error)) (*cluster, error) {
	cl := &cluster{url: url, listen: listen}
	for _, addr := range addrs {
		cl.places = append(cl.places, place{addr: addr, state: down})
	}
	if url == "" {
		var err error
		if cl.brokers, err = newBrokerSet(dir, len(addrs)); err != nil {
			return nil, err
		}
	}
	var starts sync.WaitGroup // together: a cluster is ready when most of its servers are there
	errs := make([]error, len(addrs))
	for i := range addrs {
		starts.Go(func() { errs[i] = cl.startNode(ctx, i) })
	}
	starts.Wait()
	if err := errors.Join(errs...); err != nil {
		cl.close()
		return nil, err
	}
	return cl, nil
}

func (cl *cluster) set(i int, f func(p *place)) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	f(&cl.places[i])
}

func (cl *cluster) at(i int) place {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.places[i]
}

func (cl *cluster) snapshot() []place {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return append([]place(nil), cl.places...)
}

// addrs returns the addresses of all nodes, of which some may be down.
func (cl *cluster) addrs() (addrs []string) {
	for _, p := range cl.snapshot() {
		addrs = append(addrs, p.addr)
	}
	return addrs
}

func (cl *cluster) startNode(ctx context.Context, i int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	cl.set(i, func(p *place) { p.state = starting })
	var broker *server.Server
	defer func() {
		if err != nil {
			if broker != nil {
				stopBroker(broker)
			}
			cl.set(i, func(p *place) { p.state = down })
		}
	}()
	var bus Bus
	if cl.brokers != nil {
		if broker, err = cl.brokers.start(i); err == nil {
			bus, err = cl.brokers.open(ctx, broker)
		}
	} else {
		bus, err = openNATS(ctx, cl.url, 1)
	}
	if err != nil {
		return fmt.Errorf("node %d: %w", i+1, err)
	}
	l, err := cl.listen(cl.at(i).addr)
	if err != nil {
		bus.Close()
		return err
	}
	n, err := startNode(i+1, bus, l)
	if err != nil {
		l.Close()
		bus.Close()
		return err
	}
	cl.set(i, func(p *place) { p.state, p.node, p.broker = up, n, broker })
	return nil
}

// canSpareOne returns an error unless the other nodes can go on without one of them.
func (cl *cluster) canSpareOne() error {
	all := cl.snapshot()
	switch {
	case slices.ContainsFunc(all, func(p place) bool { return p.state != up }):
		return errors.New("a node is down: start it first")
	case cl.brokers != nil && len(all) < 3:
		return errors.New("it takes three brokers to do without one of them: use -nodes 3")
	case len(all) < 2:
		return errors.New("this is the only node: use -nodes 2")
	}
	return nil
}

// kill stops a node and its broker as if the machine had failed.
func (cl *cluster) kill(i int) error {
	cl.acting.Lock()
	defer cl.acting.Unlock()
	if err := cl.canSpareOne(); err != nil {
		return err
	}
	p := cl.at(i)
	cl.set(i, func(p *place) { p.state = down })
	p.node.kill()
	if p.broker != nil {
		stopBroker(p.broker)
	}
	return nil
}

func (cl *cluster) restart(ctx context.Context, i int) error {
	cl.acting.Lock()
	defer cl.acting.Unlock()
	if cl.at(i).state != down {
		return errors.New("the node is up")
	}
	return cl.startNode(ctx, i)
}

// roll restarts the nodes one after the other. Each ends its connections over the time spread, and
// the next one's turn comes when the brokers are complete again.
func (cl *cluster) roll(ctx context.Context, spread time.Duration) error {
	cl.acting.Lock()
	defer cl.acting.Unlock()
	if err := cl.canSpareOne(); err != nil {
		return err
	}
	for i := range cl.places {
		p := cl.at(i)
		cl.set(i, func(p *place) { p.state = draining })
		timeout, cancel := context.WithTimeout(ctx, spread+5*time.Second)
		p.node.drain(timeout, spread)
		cancel()
		p.node.kill()
		if p.broker != nil {
			p.broker.LameDuckShutdown() // hands over what this server leads
			p.broker.WaitForShutdown()
		}
		if err := cl.startNode(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// close stops all nodes.
func (cl *cluster) close() {
	cl.acting.Lock()
	defer cl.acting.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var stops sync.WaitGroup
	for _, p := range cl.snapshot() {
		if p.state != up {
			continue
		}
		stops.Go(func() {
			p.node.drain(ctx, 0)
			p.node.kill()
			if p.broker != nil {
				stopBroker(p.broker)
			}
		})
	}
	stops.Wait()
}

package main

// A NATS server for each node, in this process. Together they are a cluster that keeps the stream
// in memory three times, so that it outlives the loss of one of them.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const maxReplicas = 3

// A brokerSet is how the servers of a cluster find each other.
type brokerSet struct {
	dir    string // of the servers' own state
	routes []*url.URL
}

func newBrokerSet(dir string, n int) (*brokerSet, error) {
	set := &brokerSet{dir: dir}
	for range n {
		addr, err := freeAddr("127.0.0.1")
		if err != nil {
			return nil, err
		}
		set.routes = append(set.routes, &url.URL{Scheme: "nats", Host: addr})
	}
	return set, nil
}

// start starts server i and returns without waiting for the others.
func (set *brokerSet) start(i int) (*server.Server, error) {
	name := fmt.Sprintf("node-%d", i+1)
	route, err := net.ResolveTCPAddr("tcp", set.routes[i].Host)
	if err != nil {
		return nil, err
	}
	options := &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(set.dir, name), JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 1 << 30,
		LameDuckDuration: time.Second, LameDuckGracePeriod: time.Millisecond,
	}
	if len(set.routes) > 1 {
		options.Cluster = server.ClusterOpts{Name: "chat", Host: "127.0.0.1", Port: route.Port}
		options.Routes = set.routes
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		stopBroker(s)
		return nil, errors.New("the NATS server does not start")
	}
	return s, nil
}

// open connects to server s within the process and waits until the cluster can spare any one
// server.
func (set *brokerSet) open(ctx context.Context, s *server.Server) (*natsBus, error) {
	bus, err := openNATS(ctx, "", min(len(set.routes), maxReplicas), nats.InProcessServer(s))
	if err != nil {
		return nil, err
	}
	if err := bus.awaitReplicas(ctx); err != nil {
		bus.Close()
		return nil, err
	}
	return bus, nil
}

// awaitReplicas returns when every replica of the stream has all of it: then the cluster can do
// without any one of its servers.
func (b *natsBus) awaitReplicas(ctx context.Context) error {
	return retry(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, streamName)
		if err != nil || b.replicas == 1 {
			return err
		}
		info := stream.CachedInfo()
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != b.replicas-1 {
			return errors.New("the stream has no leader or lacks replicas")
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return errors.New("a replica of the stream is behind")
			}
		}
		return nil
	})
}

func stopBroker(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// freeAddr returns an address that nobody listens on. Its port is below those that systems give to
// outgoing connections, so that it is still free when a node is started again.
func freeAddr(host string) (string, error) {
	var err error
	for range 100 {
		addr := net.JoinHostPort(host, fmt.Sprint(10_000+rand.N(20_000)))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr, nil
		}
	}
	return "", err
}

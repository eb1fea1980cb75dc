package main

// The log that the nodes share, and its implementation on NATS JetStream. Another broker takes its
// place where it can append once, number what it appends, and replay from a number.

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Bus is a log of events, numbered from 1.
type Bus interface {
	// Publish appends an event, and tries again until ctx ends. Of the calls with one id only the
	// first appends, so that it is safe to publish again what may have been published already.
	Publish(ctx context.Context, id string, data []byte) error

	// Subscribe yields the events after since, and goes on with new ones as they are appended. If the
	// first of them are no longer there it begins with the first that is. An error ends it.
	Subscribe(ctx context.Context, since uint64) iter.Seq2[Event, error]

	// Bounds returns what the log holds.
	Bounds(ctx context.Context) (Bounds, error)

	Close()
}

// An Event is an entry of the log. Seq counts from 1 without gaps.
type Event struct {
	Seq  uint64
	Data []byte
}

// Bounds are the numbers of the first and last event of a log, and the epoch in which they count: a
// log that was lost and begun anew has another one.
type Bounds struct {
	Epoch       string
	First, Last uint64
}

const (
	streamName  = "chat"
	subject     = "chat.lines"
	publishWait = 2 * time.Second        // for one attempt
	heartbeat   = 500 * time.Millisecond // a consumer that is silent for two of them is made again
)

type natsBus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
}

// openNATS connects to a server and waits until the stream is there, for which a cluster needs the
// majority of its servers.
func openNATS(ctx context.Context, url string, replicas int, options ...nats.Option) (*natsBus, error) {
	nc, err := nats.Connect(url, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond))...)
	if err != nil {
		return nil, err
	}
	b := &natsBus{nc: nc, replicas: replicas}
	if b.js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return nil, err
	}
	if _, err := b.Bounds(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return b, nil
}

func (b *natsBus) Close() { b.nc.Close() }

func (b *natsBus) Publish(ctx context.Context, id string, data []byte) error {
	return retry(ctx, func(ctx context.Context) error {
		_, err := b.js.Publish(ctx, subject, data, jetstream.WithMsgID(id))
		return err
	})
}

// retry calls f until it succeeds. While a cluster elects a leader requests fail or go unanswered.
func retry(ctx context.Context, f func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, publishWait)
		err := f(attempt)
		cancel()
		if err == nil || errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *natsBus) Subscribe(ctx context.Context, since uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		consumer, err := b.js.OrderedConsumer(ctx, streamName, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: since + 1, MaxResetAttempts: 2,
		})
		if err != nil {
			yield(Event{}, err)
			return
		}
		messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat), jetstream.PullExpiry(10*heartbeat))
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer messages.Stop()
		for {
			m, err := messages.Next(jetstream.NextContext(ctx))
			var meta *jetstream.MsgMetadata
			if err == nil {
				meta, err = m.Metadata()
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			if !yield(Event{Seq: meta.Sequence.Stream, Data: m.Data()}, nil) {
				return
			}
		}
	}
}

// Bounds creates the stream if there is none.
func (b *natsBus) Bounds(ctx context.Context) (bounds Bounds, err error) {
	config := jetstream.StreamConfig{
		Name: streamName, Subjects: []string{subject}, Storage: jetstream.MemoryStorage, Replicas: b.replicas,
		MaxMsgs: 100_000, MaxBytes: 64 << 20, Duplicates: 2 * time.Minute,
	}
	err = retry(ctx, func(ctx context.Context) error {
		stream, err := b.js.CreateOrUpdateStream(ctx, config)
		if err == nil {
			info := stream.CachedInfo()
			bounds = Bounds{info.Created.UTC().Format(time.RFC3339Nano), info.State.FirstSeq, info.State.LastSeq}
		}
		return err
	})
	return bounds, err
}

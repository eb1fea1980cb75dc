package main

// The log that the nodes share, and its implementation on NATS JetStream. Another broker takes its
// place where it can append once, number what it appends, and replay from a number.

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Bus is a log of events, numbered from 1.
type Bus interface {
	// Publish appends an event, and tries again until ctx ends. Of the calls with one id only the
	// first appends, so that it is safe to publish again what may have been published already.
	Publish(ctx context.Context, id string, data []byte) error

	// Subscribe yields the events after since, and goes on with new ones as they are appended. If
	// the first of them are no longer there it begins with the first that is. An error ends it.
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
	streamName = "chat"
	subject    = "chat.lines"
	stored     = "chat.stored" // where the stream's leader sends what it has stored
	attempt    = time.Second   // for one request
	recheck    = time.Second
)

// retry calls f until it succeeds. While a cluster elects a leader requests fail or go unanswered.
func retry(ctx context.Context, f func(context.Context) error) error {
	for {
		once, cancel := context.WithTimeout(ctx, attempt)
		err := f(once)
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

// A natsBus gets new events as they are stored, and what it missed of them by their numbers, which
// any replica answers. No consumer is involved, so that none has to be replaced with its server.
type natsBus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
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
	if b.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(attempt)); err == nil {
		err = retry(ctx, func(ctx context.Context) (err error) {
			b.stream, err = b.js.CreateOrUpdateStream(ctx, b.config())
			return err
		})
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return b, nil
}

func (b *natsBus) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: streamName, Subjects: []string{subject}, Storage: jetstream.MemoryStorage, Replicas: b.replicas,
		MaxMsgs: 100_000, MaxBytes: 64 << 20, Duplicates: 2 * time.Minute, AllowDirect: true,
		RePublish: &jetstream.RePublish{Source: subject, Destination: stored},
	}
}

func (b *natsBus) Close() { b.nc.Close() }

func (b *natsBus) Publish(ctx context.Context, id string, data []byte) error {
	return retry(ctx, func(ctx context.Context) error {
		_, err := b.js.Publish(ctx, subject, data, jetstream.WithMsgID(id))
		return err
	})
}

func (b *natsBus) Subscribe(ctx context.Context, since uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		live := make(chan *nats.Msg, 1024) // what does not fit in comes by its number
		subscription, err := b.nc.ChanSubscribe(stored, live)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer subscription.Unsubscribe()
		tick := time.NewTicker(recheck)
		defer tick.Stop()
		for byNumber := true; ; {
			e, err := Event{}, error(nil)
			if byNumber {
				var m *jetstream.RawStreamMsg // the first of those after since
				m, err = b.stream.GetMsg(ctx, since+1, jetstream.WithGetMsgSubject(subject))
				if byNumber = !errors.Is(err, jetstream.ErrMsgNotFound); !byNumber {
					continue
				}
				if err == nil {
					e = Event{m.Sequence, m.Data}
				}
			} else {
				select {
				case m := <-live:
					e.Data = m.Data
					e.Seq, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
					if byNumber = e.Seq > since+1; byNumber || err == nil && e.Seq <= since {
						continue
					}
				case <-tick.C: // the newest may have been missed, or the stream begun anew
					var bounds Bounds
					if bounds, err = b.Bounds(ctx); err == nil && bounds.Last >= since {
						byNumber = true
						continue
					}
					err = errors.Join(err, errors.New("the stream ends before what was seen of it"))
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
			since = e.Seq
		}
	}
}

// Bounds creates the stream if it was lost.
func (b *natsBus) Bounds(ctx context.Context) (bounds Bounds, err error) {
	err = retry(ctx, func(ctx context.Context) error {
		info, err := b.stream.Info(ctx)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			_, err = b.js.CreateOrUpdateStream(ctx, b.config())
			return errors.Join(errors.New("the stream was lost"), err)
		}
		if err == nil {
			bounds = Bounds{info.Created.UTC().Format(time.RFC3339Nano), info.State.FirstSeq, info.State.LastSeq}
		}
		return err
	})
	return bounds, err
}
